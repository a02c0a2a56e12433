//! Private keys stay where they are: not in logs, not in messages, not in what the operator is
//! shown, not in core files.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal as Kill;

use crate::binary::{BINARY, Folder, Serve, command, config, finish};
use crate::support::edge::Refusing;
use crate::support::tls::{Authority, Files};
use crate::support::{Caller, EchoHeads, Gateway, HOST, ScriptedApp, eventually};

/// A configuration of one TLS listener with these files.
fn with_tls(folder: &Folder, app: &EchoHeads, certificate: &Path, key: &Path) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    let tls = format!(
        "address = \"127.0.0.1:0\"\n[listener.tls]\n\
         certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]\n"
    );
    let text = config("json", &["hello"], app.address());
    let text = text.replacen("address = \"127.0.0.1:0\"\n", &tls, 1);
    folder.write("gateway.toml", text).to_str().unwrap().to_owned()
}

/// No line of the key's text is part of what somebody may read.
#[track_caller]
fn no_key_in(text: &str, key: &str) {
    for line in key.lines().filter(|line| !line.starts_with("-----") && line.len() > 8) {
        assert!(!text.contains(line), "{text}");
    }
}

#[test]
fn no_private_key_is_logged_or_shown() {
    let app = EchoHeads::start();
    let (authority, files, folder) = (Authority::new(), Files::new(), Folder::new());
    let issued = authority.issue(&[HOST]);
    files.put("tls", &issued);
    let (certificate, key) = (files.path("tls.crt"), files.path("tls.key"));
    let path = with_tls(&folder, &app, &certificate, &key);
    let mut serve = command(&["serve", "--config", &path]);
    serve.env("RUST_LOG", "trace");
    let serve = Serve::launch(serve);
    Caller::over_tls(serve.address, &authority.client(), HOST).get("/").expect(200);
    for shown in ["/", "/config", "/apps", "/metrics", "/readyz?verbose", "/nothing"] {
        let mut admin = TcpStream::connect(serve.admin).unwrap();
        write!(admin, "GET {shown} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        admin.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        no_key_in(&answer, &issued.key);
    }
    // Files that are not what they should be are told by their names.
    for broken in [issued.key.replace("PRIVATE", "PUBLIC"), issued.certificate.clone()] {
        files.write("tls.key", &broken);
        serve.kill(Kill::HUP);
    }
    serve.wait_lines("reloaded", 1);
    no_key_in(&serve.finish().join("\n"), &issued.key);

    // The key where the certificate belongs, and a file that says itself what is in it.
    for text in [issued.key.clone(), issued.key.replace("PRIVATE KEY", "NOTHING")] {
        files.write("tls.crt", &text);
        let path = with_tls(&folder, &app, &certificate, &key);
        let mut check = command(&["check", "--config", &path]);
        let output = finish(check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let said = [output.stdout, output.stderr].concat();
        no_key_in(&String::from_utf8_lossy(&said), &issued.key);
    }
}

/// Whether the system wrote the memory of a crashed gateway with a key into its folder.
fn leaves_a_core(arguments: &[&str]) -> bool {
    let app = EchoHeads::start();
    let (authority, files, folder) = (Authority::new(), Files::new(), Folder::new());
    files.put("tls", &authority.issue(&[HOST]));
    let path = with_tls(&folder, &app, &files.path("tls.crt"), &files.path("tls.key"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh", BINARY, "serve"]);
    shell.args(["--config", &path]).args(arguments).current_dir(folder.path("."));
    shell.stdin(Stdio::null());
    let serve = Serve::launch(shell);
    let address = serve.address;
    serve.kill(Kill::ABORT);
    eventually("the process has ended", || TcpStream::connect(address).is_err());
    // Waits for it, and with it for the core.
    drop(serve);
    let files = std::fs::read_dir(folder.path(".")).unwrap();
    files.map(|file| file.unwrap().file_name()).any(|name| name.to_string_lossy().contains("core"))
}

#[test]
fn a_crash_leaves_no_private_key_in_a_core_file() {
    if !leaves_a_core(&["--core-dumps"]) {
        // Many systems pipe core files elsewhere, or allow none: the setting itself is tested in
        // `cli::serve`.
        eprintln!("this system writes no core files to the working folder");
    }
    assert!(!leaves_a_core(&[]));
}

#[test]
fn no_answer_of_the_gateways_own_tells_an_address_or_a_version() {
    let (refusing, closing) =
        (Refusing::new(), ScriptedApp::start(|connection| drop(connection.head())));
    for address in [refusing.address(), closing.address()] {
        let gateway = Gateway::of(address);
        for text in [
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: nobody.ignite.test\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            format!("TRACE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX : 1\r\n\r\n"),
        ] {
            let answer = Caller::ask(&gateway, text);
            assert!(answer.status >= 400, "{answer:?}");
            let all = [&answer.head.raw[..], &answer.body].concat();
            let all = String::from_utf8(all).unwrap().to_ascii_lowercase();
            let port = format!(":{}", address.port());
            for secret in ["127.0.0.1", &port, env!("CARGO_PKG_VERSION"), "server:", "rust", "acme"]
            {
                assert!(!all.contains(secret), "{secret} in {all}");
            }
        }
    }
}
