//! The live page on the proxy's listener.

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response};

use super::answer::{refuse, whole};
use super::handle::Proxy;
use super::relay::Answer;
use crate::page::{POLICY, asset};

impl Proxy {
    /// A file of the page; `None` without a page, and for any other path.
    pub(super) fn page_file(&self, method: &Method, path: &str) -> Option<Response<Answer>> {
        self.settings.page.as_ref().filter(|_| *method == Method::GET)?;
        let (kind, body) = asset(path)?;
        Some(guarded(whole(200, kind, body)))
    }

    /// What the page is, and asks for.
    pub(super) async fn page(&self, path: &str, query: Option<&str>) -> Option<Response<Answer>> {
        let page = self.settings.page.clone()?;
        let query = query.unwrap_or_default();
        match path {
            "/page/live" => {
                let after = query.strip_prefix("after=").and_then(|ms| ms.parse().ok()).unwrap_or(0);
                let Some((hello, rest)) = page.live(after) else {
                    return Some(refuse(503, "too many pages are open", "invalid_request_error", "too_many"));
                };
                let mut response = whole(200, "text/event-stream", Bytes::new());
                *response.body_mut() = Answer::Live(Some(hello), rest);
                Some(guarded(response))
            }
            "/page/history" => {
                let query = query.to_owned();
                // Reading a store takes its time, which is not that of this thread.
                let read = tokio::task::spawn_blocking(move || page.history(&query)).await;
                Some(guarded(match read {
                    Ok(Ok(json)) => whole(200, "application/json", json),
                    Ok(Err(reason)) => refuse(400, &reason, "invalid_request_error", "no_history"),
                    Err(_) => refuse(500, "reading the store failed", "internal_error", "no_history"),
                }))
            }
            _ => self.page_file(&Method::GET, path),
        }
    }
}

/// Headers that keep a browser from doing more with it than the page needs.
fn guarded(mut response: Response<Answer>) -> Response<Answer> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
