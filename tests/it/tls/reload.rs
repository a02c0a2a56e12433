//! Certificates that change while they are in force.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ignite_gateway::app::Command;

use super::{NAMES, gateway, metric};
use crate::support::tls::{Authority, Files, Issued};
use crate::support::{Caller, EchoHeads, Gateway, HOST, LIMIT, eventually};

const RELOADS: &str = "ignite_gateway_tls_certificate_reloads_total";

/// Waits until as many reloads have ended in this way.
#[track_caller]
pub(super) fn wait_reloads(gateway: &Gateway, result: &str, count: u64) {
    let labels = format!("result=\"{result}\"");
    eventually("reloads", || metric(gateway, RELOADS, &labels) >= count);
    assert_eq!(metric(gateway, RELOADS, &labels), count);
}

/// Whether a caller gets this certificate.
#[track_caller]
fn shows(gateway: &Gateway, authority: &Authority, issued: &Issued) -> bool {
    let caller = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    caller.session().certificate() == issued.der
}

#[track_caller]
fn wait_shows(gateway: &Gateway, authority: &Authority, issued: &Issued) -> Duration {
    let start = Instant::now();
    eventually("the certificate is in force", || shows(gateway, authority, issued));
    start.elapsed()
}

#[test]
fn a_renewed_certificate_is_in_force_within_two_seconds_and_old_connections_stay() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    let mut before = Caller::over_tls(gateway.address(), &authority.client(), HOST);
    let _ = before.get("/").expect(200);
    for _ in 0..2 {
        let next = authority.issue(&[NAMES]);
        files.put("tls", &next);
        let took = wait_shows(&gateway, &authority, &next);
        assert!(took < Duration::from_millis(2500), "{took:?}");
    }
    let _ = before.get("/").expect(200);
    wait_reloads(&gateway, "success", 2);
}

#[test]
fn a_swap_of_symbolic_links_as_kubernetes_does_it_is_seen() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let files = Files::new();
    let mount = |version: &str, issued: &Issued| {
        std::fs::create_dir(files.path(version)).unwrap();
        files.put(&format!("{version}/tls"), issued);
        symlink(version, files.path("..data_tmp")).unwrap();
        std::fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
    };
    mount("..one", &authority.issue(&[NAMES]));
    symlink("..data/tls.crt", files.path("tls.crt")).unwrap();
    symlink("..data/tls.key", files.path("tls.key")).unwrap();
    let gateway = Gateway::of_with(app.address(), |config| {
        config.listeners[0].tls = Some(files.tls(&["tls"]));
    });
    let next = authority.issue(&[NAMES]);
    mount("..two", &next);
    std::fs::remove_dir_all(files.path("..one")).unwrap();
    let _ = wait_shows(&gateway, &authority, &next);
}

#[test]
fn a_folder_that_is_replaced_is_seen() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let files = Files::new();
    std::fs::create_dir(files.path("live")).unwrap();
    files.put("live/tls", &authority.issue(&[NAMES]));
    let gateway = Gateway::of_with(app.address(), |config| {
        config.listeners[0].tls = Some(files.tls(&["live/tls"]));
    });
    let next = authority.issue(&[NAMES]);
    std::fs::create_dir(files.path("new")).unwrap();
    files.put("new/tls", &next);
    std::fs::rename(files.path("live"), files.path("old")).unwrap();
    std::fs::rename(files.path("new"), files.path("live")).unwrap();
    let _ = wait_shows(&gateway, &authority, &next);
}

#[test]
fn a_bad_pair_keeps_the_old_one_in_force_and_is_counted_once() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    let old = authority.issue(&[NAMES]);
    files.put("tls", &old);
    let _ = wait_shows(&gateway, &authority, &old);
    let bad = [
        "no PEM at all".to_owned(),
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_owned(),
        // The certificate of another key.
        authority.issue(&[NAMES]).certificate,
        authority.issue(&[]).certificate,
    ];
    for (failures, text) in (1..).zip(bad) {
        files.write("tls.crt", &text);
        wait_reloads(&gateway, "failure", failures);
        assert!(shows(&gateway, &authority, &old), "{text}");
    }
    std::fs::remove_file(files.path("tls.key")).unwrap();
    wait_reloads(&gateway, "failure", 5);
    assert!(shows(&gateway, &authority, &old));
    let next = authority.issue(&[NAMES]);
    files.put("tls", &next);
    let _ = wait_shows(&gateway, &authority, &next);
    wait_reloads(&gateway, "failure", 5);
}

#[test]
fn one_bad_pair_does_not_keep_another_from_being_renewed() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let files = Files::new();
    files.put("other", &authority.issue(&["other.example"]));
    files.put("tls", &authority.issue(&[NAMES]));
    let gateway = Gateway::of_with(app.address(), |config| {
        config.listeners[0].tls = Some(files.tls(&["other", "tls"]));
    });
    files.write("other.crt", "broken");
    wait_reloads(&gateway, "failure", 1);
    let next = authority.issue(&[NAMES]);
    files.put("tls", &next);
    let _ = wait_shows(&gateway, &authority, &next);
    wait_reloads(&gateway, "failure", 1);
}

#[test]
fn two_files_that_are_written_one_after_the_other_are_no_failure() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    for _ in 0..3 {
        let next = authority.issue(&[NAMES]);
        files.write("tls.crt", &next.certificate);
        std::thread::sleep(Duration::from_millis(400));
        files.write("tls.key", &next.key);
        let _ = wait_shows(&gateway, &authority, &next);
    }
    wait_reloads(&gateway, "failure", 0);
}

#[test]
fn a_reload_of_the_configuration_takes_other_files_over_or_refuses_the_whole() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (mut gateway, files) = gateway(&authority, app.address());
    let next = authority.issue(&[NAMES]);
    files.put("next", &next);
    gateway.reload(|config| config.listeners[0].tls = Some(files.tls(&["next", "tls"])));
    let _ = wait_shows(&gateway, &authority, &next);

    let mut bad = gateway.config().clone();
    bad.listeners[0].tls = Some(files.tls(&["missing"]));
    bad.limits.headers = 7;
    gateway.tell(Command::Reload(Box::new(bad)));
    let failed = "ignite_gateway_config_reloads_total";
    eventually("it is refused", || metric(&gateway, failed, "failure") == 1);
    assert!(shows(&gateway, &authority, &next));
    assert_ne!(gateway.shared().settings.load().limits.headers, 7, "all or nothing");
}

#[test]
fn a_reload_reads_files_that_are_bad_now_and_keeps_their_last_good_content() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (mut gateway, files) = gateway(&authority, app.address());
    let old = authority.issue(&[NAMES]);
    files.put("tls", &old);
    let _ = wait_shows(&gateway, &authority, &old);
    files.write("tls.key", "broken");
    // What else the configuration says must not wait for somebody to mend a certificate.
    gateway.reload(|config| config.limits.headers = 7);
    assert!(shows(&gateway, &authority, &old));
    wait_reloads(&gateway, "failure", 1);
}

#[test]
fn certificates_that_change_under_load_lose_no_request() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for kept in [true, false, false] {
            let (stop, asked, gateway, authority) = (&stop, &asked, &gateway, &authority);
            scope.spawn(move || {
                let client = authority.client();
                let connect = || Caller::over_tls(gateway.address(), &client, HOST);
                let mut caller = connect();
                while !stop.load(Ordering::Relaxed) {
                    if !kept {
                        caller = connect();
                    }
                    let _ = caller.get("/").expect(200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..3 {
            let next = authority.issue(&[NAMES]);
            files.put("tls", &next);
            let _ = wait_shows(&gateway, &authority, &next);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 100);
    assert_eq!(metric(&gateway, "ignite_gateway_tls_handshake_failures_total", ""), 0);
}

#[test]
fn the_expiry_of_what_is_in_force_is_exported() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    let expiry = "ignite_gateway_tls_certificate_expiry_timestamp_seconds";
    let day = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let kind = crate::support::tls::Kind::Ecdsa;
    let name = format!("name=\"{NAMES}\"");
    assert_ne!(metric(&gateway, expiry, &name), 4_000_000_000);
    files.put("tls", &authority.issue_until(kind, &[NAMES], day));
    let start = Instant::now();
    while metric(&gateway, expiry, &name) != 4_000_000_000 {
        assert!(start.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(10));
    }
    let file = files.path("tls.crt").display().to_string();
    assert_eq!(metric(&gateway, expiry, &file), 4_000_000_000);
}

#[test]
fn an_expired_certificate_does_not_replace_one_that_is_good() {
    let (authority, app) = (Authority::new(), EchoHeads::start());
    let (gateway, files) = gateway(&authority, app.address());
    let past = std::time::SystemTime::now() - Duration::from_secs(60);
    let kind = crate::support::tls::Kind::Ecdsa;
    files.put("tls", &authority.issue_until(kind, &[NAMES], past));
    wait_reloads(&gateway, "failure", 1);
    let _ = Caller::over_tls(gateway.address(), &authority.client(), HOST).get("/").expect(200);
}
