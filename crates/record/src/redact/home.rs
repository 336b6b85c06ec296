//! Home directories, of this user and of others.

/// `~` in place of a home directory, of this user or of another.
pub(super) fn without_home(text: &str, home: Option<&str>) -> String {
    let mut out = match home {
        Some(home) => replace_path(text, home.trim_end_matches('/')),
        None => text.to_owned(),
    };
    for parent in ["/home/", "/Users/", "C:\\Users\\"] {
        let mut from = 0;
        while let Some(at) = out.get(from..).and_then(|t| t.find(parent)).map(|i| i + from) {
            let name_at = at + parent.len();
            let begins =
                out[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '.' && c != '_');
            let name_len = out[name_at..]
                .find(|c: char| {
                    matches!(c, '/' | '\\' | '"' | '\'' | ':' | ',' | ';' | ')') || c.is_whitespace()
                })
                .unwrap_or(out.len() - name_at);
            if begins && name_len > 0 {
                out.replace_range(at..name_at + name_len, "~");
                from = at + 1;
            } else {
                from = name_at;
            }
        }
    }
    out
}

/// `path` and what is below it, but not `/root` in `/rootfs`.
fn replace_path(text: &str, path: &str) -> String {
    if path.len() < 2 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let after = &rest[at + path.len()..];
        let ends = after.chars().next().is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'));
        let begins = rest[..at]
            .chars()
            .next_back()
            .or(out.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/'));
        out.push_str(&rest[..at]);
        out.push_str(if ends && begins { "~" } else { path });
        rest = after;
    }
    out.push_str(rest);
    out
}
