//! TLS on the same loop: trusted by a given authority, refused otherwise, kept alive.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use stopwatt_core::EndKind;
use stopwatt_load::{RequestError, Target, get};
use support::*;

/// A server for `localhost` with a certificate of an authority of its own. Gives its address and that authority.
fn start() -> (SocketAddr, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket.unwrap());
                while read_request(&mut stream).is_some() {
                    for piece in [
                        HEAD.to_owned(),
                        token("a"),
                        token("b"),
                        [usage(3, 2), event("[DONE]"), END.to_owned()].concat(),
                    ] {
                        if stream.write_all(piece.as_bytes()).and_then(|()| stream.flush()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, authority)
}

fn target(address: SocketAddr, host: &str) -> Target {
    Target::parse(&format!("https://{host}:{}", address.port())).unwrap()
}

#[test]
fn a_given_authority_is_trusted_and_connections_stay() {
    let (address, authority) = start();
    let target = target(address, "localhost").with_ca_cert(authority.as_bytes()).unwrap();
    let (done, outcome) = run(&target, 2, 20, &limits());
    for d in &done {
        assert_eq!(
            (d.record.end, d.record.status, d.record.output_usage),
            (EndKind::Ok, Some(200), Some(2)),
            "{:?}",
            d.error
        );
        assert_eq!(d.text.as_deref(), Some("ab"));
        let r = &d.record;
        let stamps = [
            r.dispatched_ns,
            r.connected_ns.or(r.dispatched_ns),
            r.written_ns,
            r.first_byte_ns,
            Some(r.end_ns),
        ];
        assert!(stamps.iter().all(Option::is_some) && stamps.is_sorted(), "{stamps:?}");
    }
    assert_eq!((done.len(), outcome.connections), (20, 2));
    assert_eq!(get(&target, "/health", Duration::from_secs(20)).unwrap().status, 200);
}

#[test]
fn a_long_request_goes_through() {
    let (address, authority) = start();
    let target = target(address, "localhost").with_ca_cert(authority.as_bytes()).unwrap();
    let mut done = Vec::new();
    let mut jobs = |i: u64| (i < 2).then(|| stopwatt_load::Job { body: vec![b'x'; 4 << 20], ..job(i) });
    let (pace, clock) = (stopwatt_load::Pace::Closed { concurrency: 2 }, stopwatt_core::Clock::start());
    stopwatt_load::run(&target, pace, &mut jobs, &limits(), &stopwatt_load::Stop::new(), clock, &mut |c| {
        done.push(c)
    })
    .unwrap();
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok && d.record.written_ns.is_some()));
}

#[test]
fn an_unknown_authority_a_wrong_name_and_plain_http_are_tls_failures() {
    let (address, authority) = start();
    let plain = greets("HTTP/1.1 400 Bad\r\n\r\n");
    let trusted = |t: Target| t.with_ca_cert(authority.as_bytes()).unwrap();
    for target in [
        target(address, "localhost"),
        trusted(target(address, "127.0.0.1")),
        trusted(target(plain, "127.0.0.1")),
    ] {
        if let Ok(client) = stopwatt_load::Client::new(&target) {
            drop(client);
            let (done, _) = run(&target, 1, 2, &limits());
            assert!(done.len() == 2 && done.iter().all(|d| d.record.end == EndKind::Tls), "{done:?}");
        }
        let got = get(&target, "/", Duration::from_secs(20));
        assert!(matches!(got, Err(RequestError::Tls { .. })), "{got:?}");
    }
}

#[test]
fn a_handshake_that_never_ends_is_a_tls_failure() {
    let silent = Server::start(|_, _, _| Then::Close);
    let target = Target::parse(&format!("https://{}", silent.address)).unwrap();
    let (_, authority) = start();
    let target = target.with_ca_cert(authority.as_bytes()).unwrap();
    let limits = stopwatt_load::Limits { connect_timeout: Duration::from_millis(200), ..limits() };
    let (done, _) = run(&target, 1, 1, &limits);
    assert_eq!((done[0].record.end, done[0].error.as_deref()), (EndKind::Tls, Some("timed out")));
}

#[test]
fn plain_http_to_a_tls_port_is_no_http() {
    let (address, _) = start();
    let target = Target::parse(&format!("http://{address}")).unwrap();
    let (done, _) = run(&target, 1, 1, &limits());
    assert!(matches!(done[0].record.end, EndKind::Protocol | EndKind::Truncated), "{:?}", done[0].record.end);
}
