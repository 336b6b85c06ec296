//! Trust and TLS for a connection.
//!
//! TLS runs on the same loop as plain sockets: bytes are read and stamped first, then handed to `rustls`.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;

use crate::target::Target;

/// A reason in words; TLS libraries have many error types.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;

/// How to trust a target: the system's authorities and those given. `None` for plain HTTP.
pub(crate) fn config(target: &Target) -> Result<Option<Arc<ClientConfig>>, Reason> {
    if !target.tls {
        return Ok(None);
    }
    let mut roots = system_roots().clone();
    for certificate in &target.authorities {
        roots.add(certificate.clone())?;
    }
    if roots.is_empty() {
        return Err("the system has no trusted certificates; give some with --ca-cert".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// The system's authorities, read once: a monitor asks for a configuration several times a second.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// The client side of a new connection.
pub(crate) fn session(config: &Arc<ClientConfig>, target: &Target) -> Result<ClientConnection, Reason> {
    let name = ServerName::try_from(target.host.clone())?;
    let mut session = ClientConnection::new(Arc::clone(config), name)?;
    // A request is handed over whole, however long it is.
    session.set_buffer_limit(None);
    Ok(session)
}

/// Decrypts bytes that were read from the socket and passes on what they hold.
pub(crate) fn absorb(
    session: &mut ClientConnection,
    mut bytes: &[u8],
    buffer: &mut [u8],
    mut on_plain: impl FnMut(&[u8]),
) -> Result<(), Reason> {
    while !bytes.is_empty() {
        if session.read_tls(&mut bytes)? == 0 {
            return Err("a TLS record is larger than TLS allows".into());
        }
        let mut waiting = session.process_new_packets()?.plaintext_bytes_to_read();
        while waiting > 0 {
            let n = session.reader().read(buffer)?;
            if n == 0 {
                break;
            }
            on_plain(&buffer[..n]);
            waiting = waiting.saturating_sub(n);
        }
    }
    Ok(())
}
