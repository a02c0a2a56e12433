//! Which certificate a caller gets.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::support::tls::{Authority, Client, Files, Issued, Kind};
use crate::support::{Caller, EchoHeads, Gateway};

/// A gateway that has these certificates, the first of which is the default.
fn gateway(certificates: &[&Issued]) -> (Gateway, Files) {
    let files = Files::new();
    let names: Vec<String> = (0..certificates.len()).map(|index| index.to_string()).collect();
    for (name, issued) in names.iter().zip(certificates) {
        files.put(name, issued);
    }
    let app = EchoHeads::start();
    let gateway = Gateway::of_with(app.address(), |config| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        config.listeners[0].tls = Some(files.tls(&names));
    });
    (gateway, files)
}

/// The certificate that a caller who asks for `name` is shown.
#[track_caller]
fn shown(gateway: &Gateway, client: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
    Caller::over_tls(gateway.address(), client, name).session().certificate()
}

#[test]
fn an_exact_name_wins_over_a_wildcard_and_the_first_is_for_everybody_else() {
    let authority = Authority::new();
    let first = authority.issue(&["first.example", "also-first.example"]);
    let wildcard = authority.issue(&["*.ignite.test", "*.deep.ignite.test"]);
    let exact = authority.issue(&["hello-acme.ignite.test"]);
    let (gateway, _files) = gateway(&[&first, &wildcard, &exact]);
    let client = Client::new(&authority).believes_anybody().into_config();
    for (name, certificate) in [
        ("first.example", &first),
        ("also-first.example", &first),
        ("hello-acme.ignite.test", &exact),
        ("HELLO-acme.Ignite.TEST", &exact),
        ("other-acme.ignite.test", &wildcard),
        ("a.deep.ignite.test", &wildcard),
        // A wildcard stands for one label, and not for none.
        ("a.hello-acme.ignite.test", &first),
        ("ignite.test", &first),
        ("nobody.example", &first),
        // An address is no name: nothing is asked for.
        ("127.0.0.1", &first),
    ] {
        assert_eq!(shown(&gateway, &client, name), certificate.der, "{name}");
    }
}

#[test]
fn the_certificate_is_one_that_the_caller_can_check_and_ecdsa_if_it_can_check_both() {
    let authority = Authority::new();
    let names = ["*.ignite.test"];
    let rsa = authority.issue_as(Kind::Rsa, &names);
    let ecdsa = authority.issue_as(Kind::Ecdsa, &names);
    let (gateway, _files) = gateway(&[&rsa, &ecdsa]);
    let client = |kind| Client::new(&authority).believes_anybody().checks_only(kind).into_config();
    let both = Client::new(&authority).believes_anybody().into_config();
    for name in ["hello-acme.ignite.test", "nobody.example"] {
        assert_eq!(shown(&gateway, &client(Kind::Rsa), name), rsa.der, "{name}");
        assert_eq!(shown(&gateway, &client(Kind::Ecdsa), name), ecdsa.der, "{name}");
        assert_eq!(shown(&gateway, &both, name), ecdsa.der, "{name}");
    }
}

#[test]
fn a_caller_who_can_check_none_of_a_names_certificates_is_refused() {
    let authority = Authority::new();
    let (gateway, _files) = gateway(&[&authority.issue_as(Kind::Ecdsa, &["*.ignite.test"])]);
    let client = Client::new(&authority).checks_only(Kind::Rsa).into_config();
    let refused = Caller::try_over_tls(gateway.address(), &client, "hello-acme.ignite.test");
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("HandshakeFailure"), "{error}");
    super::expect_failures(&gateway, "nothing_in_common", 1);
}
