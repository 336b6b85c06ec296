//! The files of the page. They are part of the program and hold no data.

use bytes::Bytes;

use super::texts;

/// What a browser may do on the page: nothing but load the page's own files and ask its own server.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// uPlot 1.6.32 as the npm registry serves it, MIT, licence beside it. SHA-256 of the script
/// `19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f`, of the style sheet `df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04`; a test holds both.
const UPLOT: (&str, &str) = (include_str!("assets/uplot.js"), include_str!("assets/uplot.css"));

/// Type and content of a file of the page.
pub(crate) fn asset(path: &str) -> Option<(&'static str, Bytes)> {
    let (kind, text) = match path {
        "/" => (HTML, include_str!("assets/index.html")),
        "/page/style.css" => (STYLE, include_str!("assets/style.css")),
        "/page/app.js" => (SCRIPT, include_str!("assets/app.js")),
        "/page/chart.js" => (SCRIPT, include_str!("assets/chart.js")),
        "/page/tables.js" => (SCRIPT, include_str!("assets/tables.js")),
        "/page/stream.js" => (SCRIPT, include_str!("assets/stream.js")),
        "/page/uplot.js" => (SCRIPT, UPLOT.0),
        "/page/uplot.css" => (STYLE, UPLOT.1),
        "/page/icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        "/page/texts.json" => return Some(("application/json", Bytes::from(texts::json()))),
        _ => return None,
    };
    Some((kind, Bytes::from_static(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn what_is_not_ours_is_as_the_registry_served_it() {
        let sha =
            |text: &str| -> String { Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect() };
        assert_eq!(sha(UPLOT.0), "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f");
        assert_eq!(sha(UPLOT.1), "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04");
        assert!(UPLOT.0.starts_with("/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
    }

    #[test]
    fn the_page_asks_nobody_else_and_has_nothing_inline() {
        let own =
            ["/", "/page/style.css", "/page/app.js", "/page/chart.js", "/page/tables.js", "/page/stream.js"];
        for path in own {
            let text = String::from_utf8(asset(path).unwrap().1.to_vec()).unwrap();
            assert!(!text.contains("//cdn") && !text.contains("http:") && !text.contains("https:"), "{path}");
            assert!(
                !text.contains("innerHTML") && !text.contains(" style=\"") && !text.contains("onclick="),
                "{path}"
            );
        }
        assert!(asset("/page/../secret").is_none());
    }
}
