//! Versions, application protocols, and sessions that are resumed.

use rustls::{ProtocolVersion, version};

use ignite_gateway::config::Listener;
use ignite_gateway::config::tls::{ClientAuth, TlsVersion};

use super::{NAMES, expect_failures, gateway, gateway_with, metric, tls};
use crate::support::tls::{Authority, Client};
use crate::support::{Caller, EchoHeads, HOST};

#[test]
fn both_versions_are_spoken_and_the_newer_is_preferred() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let old = Client::new(&authority).version(&version::TLS12).into_config();
    let mut caller = Caller::over_tls(gateway.address(), &old, HOST);
    assert_eq!(caller.session().version(), ProtocolVersion::TLSv1_2);
    let _ = caller.get("/").expect(200);
    let caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    assert_eq!(caller.session().version(), ProtocolVersion::TLSv1_3);
    for version in ["1.2", "1.3"] {
        let labels = format!("version=\"{version}\",handshake=\"full\"");
        assert_eq!(metric(&gateway, "ignite_gateway_tls_handshakes_total", &labels), 1);
    }
}

#[test]
fn an_older_version_than_the_least_is_refused() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        tls(config).min_version = TlsVersion::Tls13;
    });
    let old = Client::new(&authority).version(&version::TLS12).into_config();
    let refused = Caller::try_over_tls(gateway.address(), &old, HOST).err().expect("refused");
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    expect_failures(&gateway, "version", 1);
    let _ = Caller::over_tls(gateway.address(), &authority.client(), HOST).get("/").expect(200);
}

#[test]
fn an_application_protocol_is_agreed_or_the_caller_is_refused() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway(&authority, app.address());
    let client = |names: &[&str]| Client::new(&authority).protocols(names).into_config();
    let agreed = |names| {
        let mut caller = Caller::over_tls(gateway.address(), &client(names), HOST);
        let _ = caller.get("/").expect(200);
        caller.session().protocol()
    };
    assert_eq!(agreed(&[]), None);
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&["spdy/3", "http/1.1"]).as_deref(), Some("http/1.1"));
    let refused = Caller::try_over_tls(gateway.address(), &client(&["spdy/3"]), HOST);
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    expect_failures(&gateway, "nothing_in_common", 1);
}

#[test]
fn a_session_is_resumed_whichever_worker_accepts() {
    for version in [&version::TLS12, &version::TLS13] {
        let (authority, app) = (Authority::new(), EchoHeads::start());
        let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
            config.workers = 4;
        });
        let client = Client::new(&authority).version(version).into_config();
        let mut open = Vec::new();
        for round in 0..12 {
            let mut caller = Caller::over_tls(gateway.address(), &client, HOST);
            assert_eq!(caller.session().is_resumed(), round > 0, "{version:?} {round}");
            // The tickets of TLS 1.3 come with the first answer.
            let _ = caller.get("/").expect(200);
            // Kept, so that connections spread over all workers.
            open.push(caller);
        }
        let resumed = "handshake=\"resumed\"";
        assert_eq!(metric(&gateway, "ignite_gateway_tls_handshakes_total", resumed), 11);
    }
}

#[test]
fn a_session_of_a_listener_is_resumed_at_another() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        let again = config.listeners[0].clone();
        config.listeners.push(again);
    });
    let client = authority.client();
    let [first, second] = gateway.addresses()[..] else { panic!("two listeners") };
    let _ = Caller::over_tls(first, &client, HOST).get("/").expect(200);
    assert!(Caller::over_tls(second, &client, HOST).session().is_resumed());
}

#[test]
fn a_session_without_a_certificate_opens_no_listener_that_wants_one() {
    // One ticket for all would let in whoever was let in anywhere: CVE-2025-23419 in nginx.
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let own = Authority::new();
    let (gateway, _files) = gateway_with(&authority, app.address(), |config| {
        let mut strict: Listener = config.listeners[0].clone();
        let files = crate::support::tls::Files::new();
        files.write("ca.crt", &own.pem());
        files.put("tls", &authority.issue(&[NAMES]));
        let mut tls = files.tls(&["tls"]);
        tls.clients = Some(files.clients("ca.crt", ClientAuth::Required));
        strict.tls = Some(tls);
        config.listeners.push(strict);
        std::mem::forget(files);
    });
    let client = authority.client();
    let [open, strict] = gateway.addresses()[..] else { panic!("two listeners") };
    for _ in 0..3 {
        let _ = Caller::over_tls(open, &client, HOST).get("/").expect(200);
        let mut caller = Caller::over_tls(strict, &client, HOST);
        assert!(!caller.session().is_resumed());
        caller.send("GET / HTTP/1.1\r\n\r\n");
        assert!(caller.try_read_response(false).is_err(), "no answer without a certificate");
    }
    assert_eq!(app.seen().len(), 3);
}
