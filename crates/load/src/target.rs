//! Where requests go: an address, a base path, headers and trust.
//!
//! A target never shows a key: `Debug` prints header names only, and an URL with user info is refused.

use std::fmt;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::error::{RequestError, TargetError};

/// A server to measure.
#[derive(Clone)]
pub struct Target {
    pub(crate) tls: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path before `/v1`: empty or `/something`.
    prefix: String,
    /// `name: value\r\n` lines.
    headers: Vec<(String, String)>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
}

/// Ends of an URL that name an endpoint and not a base.
const ENDPOINTS: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1"];
/// Headers that the client writes itself.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "accept-encoding", "x-request-id"];

impl Target {
    /// Reads `http://host[:port][/base]`. A trailing `/v1` or endpoint is understood and not doubled.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let bad = |part| TargetError::Url { part };
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or(bad("scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(bad("scheme")),
        };
        if rest.contains(['?', '#']) {
            return Err(bad("query"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(bad("user info"));
        }
        let (host, port) = split_authority(authority)?;
        if host.is_empty() || ServerName::try_from(host).is_err() {
            return Err(bad("host"));
        }
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(p) => p.parse().ok().filter(|p| *p != 0).ok_or(bad("port"))?,
        };
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("path"));
        }
        let path = path.trim_end_matches('/');
        let prefix =
            ENDPOINTS.iter().find_map(|e| path.strip_suffix(e)).unwrap_or(path).trim_end_matches('/');
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            prefix: prefix.to_owned(),
            headers: Vec::new(),
            authorities: Vec::new(),
        })
    }

    /// Sends one more header with every request; a later one of the same name replaces an earlier one.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, TargetError> {
        let value = value.trim();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let ours = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
        let fine =
            !name.is_empty() && name.bytes().all(token) && value.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !fine || ours {
            return Err(TargetError::Header { name: name.escape_default().to_string() });
        }
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Sends `Authorization: Bearer KEY` with every request.
    pub fn with_api_key(self, key: &str) -> Result<Self, TargetError> {
        self.with_header("authorization", &format!("Bearer {}", key.trim()))
    }

    /// Trusts the certificates of a PEM text besides the system's.
    pub fn with_ca_cert(mut self, pem: &[u8]) -> Result<Self, TargetError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|e| TargetError::Certificates { source: e.to_string().into() })?;
        if certificates.is_empty() {
            return Err(TargetError::Certificates { source: "no CERTIFICATE block".into() });
        }
        self.authorities.extend(certificates);
        Ok(self)
    }

    /// Host name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it is trusted: by the system's authorities and those given. `None` for plain HTTP.
    ///
    /// # Errors
    /// There is no authority to trust, or one that cannot be used.
    pub fn tls_config(&self) -> Result<Option<std::sync::Arc<rustls::ClientConfig>>, RequestError> {
        crate::tls::config(self).map_err(|source| RequestError::Tls { source })
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.tls
    }

    /// The address without endpoint, headers or keys.
    pub fn base_url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.prefix)
    }

    /// Path before `/v1`: empty or `/something`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Value of the `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    /// Everything of a request head up to the headers that differ from one request to the next.
    ///
    /// `path` begins with a slash and is put after the base path.
    pub(crate) fn head(&self, method: &str, path: &str, accept: &str) -> Vec<u8> {
        let mut head = format!("{method} {}{path} HTTP/1.1\r\nhost: {}\r\n", self.prefix, self.authority());
        let given = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let defaults = [
            ("user-agent", concat!("stopwatt/", env!("CARGO_PKG_VERSION"))),
            ("accept", accept),
            ("content-type", "application/json"),
        ];
        for (name, value) in defaults {
            let pointless = name == "content-type" && method == "GET";
            if !given(name) && !pointless {
                head.extend([name, ": ", value, "\r\n"]);
            }
        }
        head.push_str("accept-encoding: identity\r\n");
        for (name, value) in &self.headers {
            head.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        head.into_bytes()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(n, _)| n).collect();
        f.debug_struct("Target")
            .field("url", &self.base_url())
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<&str>), TargetError> {
    let port = |rest: &'_ str| -> Result<bool, TargetError> {
        if rest.is_empty() || rest.starts_with(':') {
            Ok(!rest.is_empty())
        } else {
            Err(TargetError::Url { part: "port" })
        }
    };
    if let Some(v6) = authority.strip_prefix('[') {
        let (host, rest) = v6.split_once(']').ok_or(TargetError::Url { part: "host" })?;
        return Ok((host, port(rest)?.then(|| &rest[1..])));
    }
    Ok(match authority.split_once(':') {
        None => (authority, None),
        Some((host, p)) => (host, Some(p)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, line: &str, host: &str) {
        let head = Target::parse(url).unwrap().head("POST", "/v1/completions", "*/*");
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(format!("POST {line} HTTP/1.1").as_str()));
        assert_eq!(lines.next(), Some(format!("host: {host}").as_str()));
    }

    #[test]
    fn base_paths_are_completed_and_never_doubled() {
        check("http://h:8000", "/v1/completions", "h:8000");
        check("HTTP://h/", "/v1/completions", "h");
        check("http://h:80/v1", "/v1/completions", "h");
        check("https://h/v1/", "/v1/completions", "h");
        check("https://h:80/openai/v1", "/openai/v1/completions", "h:80");
        check("http://h:1/gw/", "/gw/v1/completions", "h:1");
        check("http://h:1/gw/v1/chat/completions", "/gw/v1/completions", "h:1");
        check("http://[::1]:8000/v1", "/v1/completions", "[::1]:8000");
        check("http://127.0.0.1:9", "/v1/completions", "127.0.0.1:9");
    }

    #[track_caller]
    fn refused(url: &str, expected: &str) {
        match Target::parse(url).unwrap_err() {
            TargetError::Url { part } => assert_eq!(part, expected, "{url}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bad_urls_name_the_part() {
        refused("h:8000", "scheme");
        refused("ftp://h", "scheme");
        refused("http://", "host");
        refused("http://a b/", "host");
        refused("http://h:99999", "port");
        refused("http://h:0", "port");
        refused("http://[::1", "host");
        refused("http://[::1]8", "port");
        refused("http://h/a b", "path");
        refused("http://h/v1?key=1", "query");
        refused("http://u:secret@h/", "user info");
    }

    #[test]
    fn keys_are_sent_and_never_shown() {
        let target = Target::parse("http://h").unwrap().with_api_key("sk-canary\n").unwrap();
        let head = String::from_utf8(target.head("GET", "/health", "*/*")).unwrap();
        assert!(head.contains("authorization: Bearer sk-canary\r\n"));
        assert!(!format!("{target:?}").contains("canary"));
        let error = target.clone().with_header("x-key", "canary\r\nx: y").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
    }

    #[test]
    fn given_headers_replace_ours_except_for_framing() {
        let target = Target::parse("http://h").unwrap().with_header("User-Agent", "me").unwrap();
        let head = String::from_utf8(target.head("POST", "/", "*/*")).unwrap();
        assert_eq!(head.to_lowercase().matches("user-agent").count(), 1);
        for name in OWN_HEADERS {
            assert!(
                matches!(target.clone().with_header(name, "1"), Err(TargetError::Header { .. })),
                "{name}"
            );
        }
        assert!(target.clone().with_header("", "1").is_err());
        assert!(target.with_header("a b", "1").is_err());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let target = Target::parse("https://h").unwrap();
        assert!(matches!(target.with_ca_cert(b"hello"), Err(TargetError::Certificates { .. })));
    }
}
