//! Upstreams behind TLS: trusted by a given authority, refused otherwise, kept alive.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use stopwatt_ops::exchange::{End, Failure};
use stopwatt_ops::upstream::Spec;

use crate::support::*;

/// A server for `localhost` that streams two tokens, with a certificate of an authority of its own. Gives its address,
/// that authority and the connections that were made.
fn start() -> (SocketAddr, String, Arc<AtomicUsize>) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            count.fetch_add(1, Relaxed);
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(StreamOwned::new(session, socket.unwrap()));
                loop {
                    let (mut line, mut length) = (String::new(), 0);
                    loop {
                        line.clear();
                        match stream.read_line(&mut line) {
                            Ok(0) | Err(_) => return,
                            Ok(2) => break,
                            Ok(_) => {}
                        }
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    stream.read_exact(&mut vec![0; length]).unwrap();
                    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
                    let body = format!("{event}{event}data: [DONE]\n\n");
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
                    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                    let stream = stream.get_mut();
                    if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, authority, made)
}

#[test]
fn a_trusted_upstream_answers_on_a_connection_that_stays() {
    let (addr, authority, made) = start();
    let mut spec = Spec::parse(&format!("https://localhost:{},name=tls", addr.port())).unwrap();
    spec.target = spec.target.with_ca_cert(authority.as_bytes()).unwrap();
    let proxy = Proxy::of_specs(vec![spec]);
    for _ in 0..3 {
        let answer = proxy.chat();
        assert!(answer.is_done() && answer.status == 200, "{answer:?}");
    }
    assert!(proxy.recorded(3).iter().all(|x| x.end == End::Answered && x.tokens == 2));
    assert_eq!(made.load(Relaxed), 1);
}

#[test]
fn an_upstream_that_is_not_trusted_is_another_s_turn() {
    let (addr, _, _) = start();
    let (_, other, _) = start();
    let engine = engine(|_| {});
    let untrusted = |port: u16| {
        let mut spec = Spec::parse(&format!("https://localhost:{port},name=tls,weight=1000")).unwrap();
        spec.target = spec.target.with_ca_cert(other.as_bytes()).unwrap();
        spec
    };
    let alone = Proxy::of_specs(vec![untrusted(addr.port())]);
    let answer = alone.chat();
    assert!(answer.status == 502 && answer.body.contains("tls_handshake"), "{answer:?}");
    assert_eq!(alone.recorded(1)[0].end, End::Failed(Failure::Tls));
    // One that speaks no TLS at all.
    let plain = Proxy::of_specs(vec![untrusted(engine.addr().port())]);
    assert!(plain.chat().body.contains("tls_handshake"));
    let both = Proxy::of_specs(vec![untrusted(addr.port()), Spec::parse(&spec(&engine)).unwrap()]);
    assert!(both.chat().is_done());
}
