//! The live page in a real browser: what arrives, what it shows, whom it asks.
//!
//! Runs under the feature `external-tests` and needs Chromium in `PATH`; without one these tests fail. Chromium is
//! driven by its own debugging protocol over a pipe.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "it/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stopwatt_engine::Token;
use stopwatt_ops::page::{Hub, Sources};
use stopwatt_ops::rules;
use stopwatt_ops::store::{Settings, Store};

struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The browser reads commands from descriptor 3 and answers on 4.
        let run = format!(
            "exec chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
             --disable-component-update --disable-sync --remote-debugging-pipe --user-data-dir={} about:blank \
             3<&0 4>&1 1>/dev/null 2>/dev/null",
            profile.path().display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &run])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium starts; these tests need it in PATH");
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from, session: None, calls: 0, events: Vec::new(), _profile: profile }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            assert!(self.from.read_until(0, &mut answer).unwrap() > 0, "chromium ended; is it in PATH?");
            let mut answer: Value = serde_json::from_slice(answer.strip_suffix(b"\0").unwrap()).unwrap();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn open(&mut self, url: &str, width: u32) {
        self.session = None;
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", attach);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Page.navigate", json!({"url": url}));
    }

    fn js(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        self.call("Runtime.evaluate", asked)["result"]["value"].take()
    }

    #[track_caller]
    fn wait(&mut self, what: &str, expression: &str) {
        for _ in 0..300 {
            if self.js(expression) == json!(true) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let seen = self.js("document.body.innerText");
        panic!("waited for {what}; the page shows {seen}");
    }

    /// What the console said, and addresses that are not below `own`.
    fn complaints(&mut self, own: &str) -> Vec<String> {
        let mut all = Vec::new();
        for event in self.events.drain(..) {
            match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => {
                    all.push(event["params"].to_string());
                }
                "Network.requestWillBeSent" => {
                    let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                    if !url.starts_with(own) && !url.starts_with("about:") {
                        all.push(url.to_owned());
                    }
                }
                _ => {}
            }
        }
        all
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy with a page, over an engine that answers.
fn watched(specs: &[String], token: Option<&str>, store: Option<&std::path::Path>) -> (support::Proxy, Hub) {
    let mut hub = None;
    let proxy = support::Proxy::with_page(specs, |settings, fleet, telemetry| {
        settings.token = token.map(Token::new);
        let store = store.map(|dir| {
            let settings = Settings { every: Duration::from_millis(200), ..Settings::new(dir.to_owned()) };
            (Store::open(settings).unwrap(), dir.to_owned())
        });
        let (scraped, of) = (Arc::clone(telemetry), Arc::clone(fleet));
        let sources = Sources {
            fleet: Arc::clone(fleet),
            scrape: Box::new(move || scraped.render(&of)),
            rules: rules::Settings::default().alerts().unwrap(),
            store,
        };
        let started = Hub::start(sources).unwrap();
        settings.page = Some(started.page());
        hub = Some(started);
    });
    (proxy, hub.unwrap())
}

/// Pixels of a chart that are not ground.
const DRAWN: &str = "(id => { const c = document.querySelector('#chart-' + id + ' canvas'); if (!c) return 0; \
    const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
    let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n; })";

#[test]
fn the_page_shows_what_happens_and_asks_nobody_else() {
    let engine = support::engine(|_| {});
    let dir = tempfile::tempdir().unwrap();
    let specs = [support::spec(&engine) + ",name=one,gpu-hour=2.5"];
    let (proxy, hub) = watched(&specs, None, Some(dir.path()));
    let own = format!("http://{}", proxy.addr);
    for _ in 0..30 {
        assert!(proxy.chat().is_done());
    }
    let mut browser = Browser::start();
    browser.open(&format!("{own}/?lang=en"), 1280);
    browser.wait("frames", "document.getElementById('link').textContent === 'live'");
    browser.wait("the requests", "document.getElementById('tiles').innerText.includes('of 30 requests')");
    browser.wait("a chart", &format!("{DRAWN}('ttft') > 500 && {DRAWN}('cost_hour') > 500"));
    let groups = browser.js("document.querySelector('#table-groups tbody').innerText");
    assert!(groups.as_str().unwrap().contains("stopwatt-exact"), "{groups}");
    // The table of a chart, and back.
    browser.js("document.querySelector('#chart-ttft button').click()");
    browser.wait("its table", "document.querySelectorAll('#chart-ttft tbody tr').length > 0 && !document.querySelector('#chart-ttft canvas')");
    let values = browser.js("document.querySelector('#chart-ttft tbody').innerText");
    assert!(values.as_str().unwrap().contains(" ms"), "{values}");
    browser.js("document.querySelector('#chart-ttft button').click()");
    browser.wait("the chart again", &format!("{DRAWN}('ttft') > 500"));
    // Where nothing is, the reason is told.
    let quality = browser.js("document.querySelector('#chart-quality .empty').textContent");
    assert_eq!(quality, "No data: answers are not judged.");
    // Another span comes from the store.
    browser.js(
        "const s = document.getElementById('span'); s.value = '3600'; s.dispatchEvent(new Event('change'))",
    );
    browser.wait("the store", "document.getElementById('tiles').innerText.includes('of 30 requests')");
    // In Korean, with the other colours.
    browser.js("document.getElementById('lang').click(); document.getElementById('theme').click()");
    browser.wait("Korean", "document.getElementById('tiles').innerText.includes('가용성')");
    assert_eq!(browser.complaints(&own), Vec::<String>::new());
    drop(proxy);
    drop(hub);
}

#[test]
fn a_phone_needs_no_sideways_scrolling() {
    let engine = support::engine(|_| {});
    let (proxy, _hub) = watched(&[support::spec(&engine)], None, None);
    let mut browser = Browser::start();
    for lang in ["en", "ko"] {
        browser.open(&format!("http://{}/?lang={lang}", proxy.addr), 390);
        browser.wait("frames", "document.querySelectorAll('#tables article').length > 5");
        assert_eq!(browser.js("document.documentElement.scrollWidth"), 390, "{lang}");
    }
}

#[test]
fn the_page_asks_for_the_token_and_comes_back_after_a_restart() {
    let engine = support::engine(|_| {});
    let dir = tempfile::tempdir().unwrap();
    let (proxy, hub) = watched(&[support::spec(&engine)], Some("secret"), Some(dir.path()));
    let addr = proxy.addr;
    let mut browser = Browser::start();
    browser.open(&format!("http://{addr}/?lang=en"), 1280);
    browser.wait("the form", "!document.getElementById('login').hidden");
    assert_eq!(browser.js("fetch('/page/live').then(a => a.status)"), 401);
    assert_eq!(browser.js("fetch('/page/history?seconds=900').then(a => a.status)"), 401);
    let enter = |word: &str| {
        format!(
            "document.getElementById('token').value = '{word}'; document.getElementById('login').requestSubmit()"
        )
    };
    browser.js(&enter("wrong"));
    browser.wait("a complaint", "document.getElementById('wrong').textContent !== ''");
    browser.js(&enter("secret"));
    browser.wait("frames", "document.getElementById('link').className === 'up'");
    assert_eq!(
        browser.js("document.cookie + location.search"),
        "?lang=en",
        "the token is in no cookie and no address"
    );
    drop(proxy);
    drop(hub);
    browser.wait("the loss to show", "document.getElementById('link').className === 'down'");
    let mut hub = None;
    let _again = support::Proxy::with_page(&[support::spec(&engine)], |settings, fleet, telemetry| {
        settings.listen = addr;
        settings.token = Some(Token::new("secret"));
        let (scraped, of) = (Arc::clone(telemetry), Arc::clone(fleet));
        let started = Hub::start(Sources {
            fleet: Arc::clone(fleet),
            scrape: Box::new(move || scraped.render(&of)),
            rules: rules::Settings::default().alerts().unwrap(),
            store: None,
        })
        .unwrap();
        settings.page = Some(started.page());
        hub = Some(started);
    });
    browser.wait("the page to come back", "document.getElementById('link').className === 'up'");
}
