//! An address with a path, for something that is not an engine: a metrics page, a webhook, a receiver of traces.

use anyhow::Context as _;
use stopwatt_load::Target;

use super::Failure;
use crate::exit::Outcome;

/// Splits an address into where to connect and what to ask there; without a path it is `path`.
pub(crate) fn endpoint(url: &str, path: &str) -> anyhow::Result<(Target, String)> {
    let url = url.trim();
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let split = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    let target = Target::parse(&url[..split])
        .context("failed to read an address")
        .map_err(|e| Failure::new(Outcome::Configuration, e).hint("write it as http://HOST:PORT/PATH"))?;
    let given = &url[split..];
    if !given.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = anyhow::anyhow!(
            "failed to read an address: its path holds a space or a letter that is not ASCII"
        );
        return Err(Failure::new(Outcome::Configuration, problem).hint("write it percent-encoded").into());
    }
    Ok((target, if matches!(given, "" | "/") { path.to_owned() } else { given.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_stays_whole() {
        let at = |url| endpoint(url, "/metrics").map(|(t, p)| (t.base_url(), p)).unwrap();
        assert_eq!(at("http://a:9000"), ("http://a:9000".to_owned(), "/metrics".to_owned()));
        assert_eq!(
            at("https://b/otel/v1/traces?x=1"),
            ("https://b".to_owned(), "/otel/v1/traces?x=1".to_owned())
        );
        assert!(endpoint("a:9000", "/").is_err() && endpoint("http://a/b c", "/").is_err());
    }
}
