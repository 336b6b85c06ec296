//! What gives a secret away: the name it stands under, or its own shape.

/// Whether a setting, header or parameter of this name holds a secret. `api_key_env` does not: it names one.
pub fn is_secret_name(name: &str) -> bool {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before_was_lower = false;
    for c in name.trim_start_matches('-').chars() {
        if !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && before_was_lower) {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        before_was_lower = c.is_ascii_lowercase();
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    let Some((last, before)) = words.split_last() else { return false };
    let previous = before.last().map_or("", String::as_str);
    match last.as_str() {
        "password" | "passwd" | "passphrase" | "secret" | "secrets" | "authorization" | "cookie"
        | "cookies" | "credential" | "credentials" | "apikey" | "bearer" | "signature" | "sig" | "pwd" => {
            true
        }
        "key" => matches!(
            previous,
            "api" | "secret" | "private" | "access" | "auth" | "ssh" | "signing" | "subscription"
        ),
        "token" => {
            before.is_empty()
                || matches!(
                    previous,
                    "auth"
                        | "access"
                        | "api"
                        | "bearer"
                        | "hf"
                        | "id"
                        | "refresh"
                        | "session"
                        | "security"
                        | "github"
                        | "oauth"
                )
        }
        _ => false,
    }
}

/// Whether a word has the shape of a well-known kind of token.
pub(super) fn is_token(word: &str) -> bool {
    const SHAPES: [(&str, usize); 14] = [
        ("sk-", 16),
        ("sk_", 16),
        ("hf_", 16),
        ("ghp_", 20),
        ("gho_", 20),
        ("ghs_", 20),
        ("github_pat_", 20),
        ("glpat-", 16),
        ("xoxb-", 16),
        ("xoxp-", 16),
        ("nvapi-", 16),
        ("gsk_", 16),
        ("AKIA", 16),
        ("eyJ", 40),
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    SHAPES
        .iter()
        .any(|(prefix, length)| word.starts_with(prefix) && word.len() >= *length && word.chars().all(plain))
}
