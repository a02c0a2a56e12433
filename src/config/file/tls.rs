//! `[listener.tls]`: the files and versions of one listener's TLS.

use std::path::Path;

use super::problem::Report;
use super::section::{Given, Section};
use super::value::{self, Wrong};
use crate::config::tls::{ClientAuth, Clients, KeyPair, NamedFile, Tls, TlsVersion};

const PAIR: &str = "[{ certificate = \"tls/tls.crt\", key = \"tls/tls.key\" }]";

/// Reads a listener's `tls`; `None` when there is none or, with the errors
/// recorded, it is not good. Relative paths begin at `folder`.
pub(super) fn read(listener: &Section<'_>, folder: &Path, report: &mut Report) -> Option<Tls> {
    let given = listener.given("tls", report)?;
    let section = listener.open("listener.tls", &given, report)?;
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let min_version = section
        .read("min_version", report, |given| value::choice(given, &versions))
        .unwrap_or(Tls::MIN_VERSION);
    let clients = clients(&section, folder, report);
    let certificates = certificates(&section, folder, report);
    Some(Tls { certificates, min_version, clients })
}

fn certificates(section: &Section<'_>, folder: &Path, report: &mut Report) -> Vec<KeyPair> {
    let Some(given) = section.given("certificates", report) else {
        section.missing("certificates", &format!("missing; write {PAIR}"), report);
        return Vec::new();
    };
    let Some(elements) = given.elements(PAIR, report) else { return Vec::new() };
    if elements.is_empty() {
        report.wrong(&given, format!("empty; give at least one, e.g. {PAIR}"));
    }
    let mut pairs = Vec::new();
    for element in elements {
        let Some(entry) = section.open("listener.tls.certificates", &element, report) else {
            continue;
        };
        let mut file = |key, full, example| {
            let path = entry.required(key, example, report, path)?;
            let place = entry.given(key, report)?.place;
            Some(NamedFile { path: folder.join(path), source: report.file(), place, key: full })
        };
        let certificate =
            file("certificate", "listener.tls.certificates.certificate", "\"tls/tls.crt\"");
        let key = file("key", "listener.tls.certificates.key", "\"tls/tls.key\"");
        let (Some(certificate), Some(key)) = (certificate, key) else { continue };
        let pair = KeyPair { certificate, key };
        if pairs.contains(&pair) {
            report.wrong(&element, "this pair is listed twice; remove one");
        } else {
            pairs.push(pair);
        }
    }
    pairs
}

fn clients(section: &Section<'_>, folder: &Path, report: &mut Report) -> Option<Clients> {
    let policies = [("required", ClientAuth::Required), ("optional", ClientAuth::Optional)];
    let auth = section.read("client_auth", report, |given| value::choice(given, &policies));
    let Some(given) = section.given("client_ca", report) else {
        if let Some(given) = section.given("client_auth", report) {
            let message = "given without `client_ca`, so no certificate of a caller could be \
                           believed; write client_ca = \"ca.crt\", or remove it";
            report.wrong(&given, message);
        }
        return None;
    };
    let path = section.read("client_ca", report, path)?;
    let ca = NamedFile {
        path: folder.join(path),
        source: report.file(),
        place: given.place,
        key: "listener.tls.client_ca",
    };
    Some(Clients { ca, auth: auth.unwrap_or(Clients::AUTH) })
}

/// A file's path.
fn path(given: &Given<'_>) -> Result<String, Wrong> {
    let text = value::text(given, "the path of a file such as \"tls/tls.crt\"")?;
    match text {
        "" => Err("empty; give the path of a file such as \"tls/tls.crt\"".to_owned()),
        text if text.contains('\0') => Err("holds a NUL, which no path may".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::path::Path;

    use super::*;
    use crate::config::file::{Place, parse};

    const GOOD: &str = "certificates = [{ certificate = \"a.crt\", key = \"/etc/a.key\" }]\n";

    /// A listener whose section begins on line 2.
    fn listener(section: &str) -> String {
        format!("[[listener]]\n[listener.tls]\n{section}")
    }

    fn read(section: &str) -> Tls {
        let loaded = parse(&listener(section), "/etc/gateway/gateway.toml", []).expect(section);
        loaded.config.listeners[0].tls.clone().expect("TLS")
    }

    #[test]
    fn a_listener_without_the_section_speaks_in_the_clear() {
        let loaded = parse("[[listener]]", "gateway.toml", []).unwrap();
        assert_eq!(loaded.config.listeners[0].tls, None);
    }

    #[test]
    fn paths_begin_at_the_folder_of_the_configuration_file() {
        let tls = read(&format!("{GOOD}client_ca = \"tls/ca.crt\""));
        let pair = &tls.certificates[0];
        assert_eq!(pair.certificate.path, Path::new("/etc/gateway/a.crt"));
        assert_eq!(pair.certificate.place, Place::Line(3));
        assert_eq!(pair.key.path, Path::new("/etc/a.key"));
        assert_eq!(tls.clients.unwrap().ca.path, Path::new("/etc/gateway/tls/ca.crt"));
    }

    #[test]
    fn every_setting_reaches_its_field() {
        let tls = read(GOOD);
        assert_eq!((tls.min_version, tls.clients), (TlsVersion::Tls12, None));
        let tls = read(&format!("{GOOD}min_version = \"1.3\"\nclient_ca = \"c\""));
        assert_eq!(tls.min_version, TlsVersion::Tls13);
        assert_eq!(tls.clients.unwrap().auth, ClientAuth::Required);
        let tls = read(&format!("{GOOD}client_ca = \"c\"\nclient_auth = \"optional\""));
        assert_eq!(tls.clients.unwrap().auth, ClientAuth::Optional);
        let two = "certificates = [\n{ certificate = \"a\", key = \"b\" },\n\
                   { certificate = \"c\", key = \"d\" }]";
        assert_eq!(read(two).certificates[1].key.place, Place::Line(5));
    }

    #[test]
    fn every_mistake_is_named_with_its_line_its_key_and_its_fix() {
        let mistakes = [
            ("", 2, "listener.tls.certificates: missing; write [{"),
            ("certificates = []", 3, "listener.tls.certificates: empty; give at least one"),
            ("certificates = \"a\"", 3, "listener.tls.certificates: expected a list"),
            ("certificates = [\"a\"]", 3, "listener.tls.certificates: expected a table"),
            (
                "certificates = [{ certificate = \"a\" }]",
                3,
                "listener.tls.certificates.key: missing; write key = \"tls/tls.key\"",
            ),
            (
                "certificates = [{ certificate = \"\", key = \"b\" }]",
                3,
                "listener.tls.certificates.certificate: empty; give the path",
            ),
            (
                "certificates = [{ certificate = \"a\", key = \"b\", chain = \"c\" }]",
                3,
                "listener.tls.certificates.chain: unknown key; known are: certificate, key",
            ),
            (
                "certificates = [{ certificate = \"a\", key = \"b\" },\n\
                 { certificate = \"a\", key = \"b\" }]",
                4,
                "listener.tls.certificates: this pair is listed twice; remove one",
            ),
        ];
        let more = [
            ("min_version = \"1.1\"", 4, "listener.tls.min_version: \"1.1\" is not known"),
            ("min_version = 1.2", 4, "listener.tls.min_version: found the number 1.2; write one"),
            ("client_auth = \"optional\"", 4, "listener.tls.client_auth: given without"),
            ("client_ca = 5", 4, "listener.tls.client_ca: found the number 5"),
            ("ciphers = \"x\"", 4, "listener.tls.ciphers: unknown key; known are: certificates,"),
        ];
        let more = more.map(|(text, line, expected)| (format!("{GOOD}{text}"), line, expected));
        let mistakes = mistakes.map(|(text, line, expected)| (text.to_owned(), line, expected));
        for (text, line, expected) in mistakes.into_iter().chain(more) {
            let errors = parse(&listener(&text), "gateway.toml", []).expect_err(&text);
            let found = errors.to_string();
            assert_eq!(errors.problems().len(), 1, "{text}\n{found}");
            assert!(found.starts_with(&format!("gateway.toml:{line}: {expected}")), "{found}");
        }
    }
}
