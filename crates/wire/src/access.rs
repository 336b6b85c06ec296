//! Who may ask a server of ours.
//!
//! With a token: whoever has it. Without: whoever names this machine itself, which a page in a browser that was
//! tricked by a name server does not.

/// The secret that requests must carry. It prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Whether `given` is the secret; the time it takes does not tell how much of it is right.
    pub fn matches(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        own.len() == given.len() && own.iter().zip(given).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is missing or wrong: status 401.
    #[error("the request needs `Authorization: Bearer` with the token of this server")]
    NoToken,
    /// The request is not from and to this machine: status 403.
    #[error("without a token, only requests from and to this machine are served")]
    Foreign,
}

impl Refusal {
    /// HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::NoToken => 401,
            Self::Foreign => 403,
        }
    }
}

/// Decides on the headers of a request.
pub fn admit(
    token: Option<&Token>,
    host: Option<&str>,
    origin: Option<&str>,
    authorization: Option<&[u8]>,
) -> Result<(), Refusal> {
    if let Some(token) = token {
        let given = authorization.and_then(bearer);
        return if given.is_some_and(|g| token.matches(g)) { Ok(()) } else { Err(Refusal::NoToken) };
    }
    let foreign_host = host.is_some_and(|h| !is_loopback_authority(h));
    let foreign_origin = origin
        .is_some_and(|o| !o.split_once("://").is_some_and(|(_, authority)| is_loopback_authority(authority)));
    if foreign_host || foreign_origin { Err(Refusal::Foreign) } else { Ok(()) }
}

fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Whether `host`, with or without a port, names this machine.
fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
