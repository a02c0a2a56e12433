//! Callers who show certificates of their own.

use base64::Engine as _;
use ignite_gateway::config::tls::ClientAuth;
use rustls::version;

use super::{NAMES, expect_failures};
use crate::support::tls::{Authority, Client, Files};
use crate::support::{Caller, EchoHeads, Gateway, HOST};

/// A gateway that believes callers of `own`.
fn gateway(
    authority: &Authority,
    own: &Authority,
    auth: ClientAuth,
    app: &EchoHeads,
) -> (Gateway, Files) {
    let files = Files::new();
    files.put("tls", &authority.issue(&[NAMES]));
    files.write("ca.crt", &own.pem());
    let gateway = Gateway::of_with(app.address(), |config| {
        let mut tls = files.tls(&["tls"]);
        tls.clients = Some(files.clients("ca.crt", auth));
        config.listeners[0].tls = Some(tls);
    });
    (gateway, files)
}

/// Whether a request is answered; in TLS 1.3 a caller learns only then that it was refused.
fn is_served(gateway: &Gateway, client: Client<'_>) -> bool {
    let config = client.into_config();
    let Ok(mut caller) = Caller::try_over_tls(gateway.address(), &config, HOST) else {
        return false;
    };
    let sent = caller.try_send(crate::support::caller::get("/"));
    sent.is_ok() && caller.try_read_response(false).is_ok_and(|response| response.status == 200)
}

#[test]
fn a_required_certificate_must_be_shown_and_be_good() {
    for version in [&version::TLS12, &version::TLS13] {
        let (authority, own, stranger) = (Authority::new(), Authority::new(), Authority::new());
        let app = EchoHeads::start();
        let (gateway, _files) = gateway(&authority, &own, ClientAuth::Required, &app);
        let client = || Client::new(&authority).version(version);
        assert!(is_served(&gateway, client().shows(&own.issue(&["caller"]))));
        assert!(!is_served(&gateway, client()));
        expect_failures(&gateway, "no_certificate", 1);
        assert!(!is_served(&gateway, client().shows(&stranger.issue(&["caller"]))));
        expect_failures(&gateway, "bad_certificate", 1);
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let expired = own.issue_until(crate::support::tls::Kind::Ecdsa, &["caller"], past);
        assert!(!is_served(&gateway, client().shows(&expired)));
        expect_failures(&gateway, "bad_certificate", 2);
        assert_eq!(app.seen().len(), 1);
    }
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_bad() {
    let (authority, own, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let app = EchoHeads::start();
    let (gateway, _files) = gateway(&authority, &own, ClientAuth::Optional, &app);
    let client = || Client::new(&authority);
    assert!(is_served(&gateway, client().shows(&own.issue(&["caller"]))));
    assert!(is_served(&gateway, client()));
    assert!(!is_served(&gateway, client().shows(&stranger.issue(&["caller"]))));
}

#[test]
fn the_app_learns_which_certificate_was_shown_and_nothing_that_a_caller_claims() {
    let (authority, own) = (Authority::new(), Authority::new());
    let app = EchoHeads::start();
    let (gateway, _files) = gateway(&authority, &own, ClientAuth::Optional, &app);
    let issued = own.issue(&["caller"]);
    let claims = "Client-Cert: :Zm9yZ2Vk:\r\nclient_cert: :Zm9yZ2Vk:\r\n\
                  Client-Cert-Chain: :Zm9yZ2Vk:\r\nX-Forwarded-Client-Cert: forged\r\n";
    let seen = |client: Client<'_>| {
        let mut caller = Caller::over_tls(gateway.address(), &client.into_config(), HOST);
        caller.send(crate::support::caller::request("GET /", claims, ""));
        let _ = caller.read_response().expect(200);
        app.last()
    };
    let shown = seen(Client::new(&authority).shows(&issued));
    let value = format!(":{}:", base64::engine::general_purpose::STANDARD.encode(&issued.der));
    assert_eq!(shown.field("client-cert"), Some(value));
    assert_eq!(shown.field("client_cert"), None);
    for seen in [shown, seen(Client::new(&authority))] {
        assert_eq!(seen.field("client-cert-chain"), None);
        assert_eq!(seen.field("x-forwarded-client-cert"), None);
    }
    assert_eq!(app.last().field("client-cert"), None);
}

#[test]
fn nobody_is_asked_for_a_certificate_without_authorities() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, _files) = super::gateway(&authority, app.address());
    assert!(is_served(&gateway, Client::new(&authority).shows(&authority.issue(&["caller"]))));
}

#[test]
fn other_authorities_hold_for_sessions_that_are_resumed_too() {
    let (authority, own, next) = (Authority::new(), Authority::new(), Authority::new());
    let app = EchoHeads::start();
    let (gateway, files) = gateway(&authority, &own, ClientAuth::Required, &app);
    let client = Client::new(&authority).shows(&own.issue(&["caller"])).into_config();
    for round in 0..2 {
        let mut caller = Caller::over_tls(gateway.address(), &client, HOST);
        let _ = caller.get("/").expect(200);
        assert_eq!(caller.session().is_resumed(), round > 0);
    }
    files.write("ca.crt", &next.pem());
    super::reload::wait_reloads(&gateway, "success", 1);
    let mut caller = Caller::over_tls(gateway.address(), &client, HOST);
    assert!(!caller.session().is_resumed());
    let _ = caller.try_send(crate::support::caller::get("/"));
    assert!(caller.try_read_response(false).is_err(), "its authority is believed no more");
    assert!(is_served(&gateway, Client::new(&authority).shows(&next.issue(&["caller"]))));
}
