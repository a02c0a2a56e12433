//! The texts that are made of the table of settings: the annotated
//! `config/gateway.toml` and the README's table.

use super::{SECTIONS, SETTINGS, Setting, header};

const INTRODUCTION: &str = "\
The configuration of ignite-gateway: every setting, with its default.

Every key is optional: keep what you change, and leave out the rest. A key that is not known is \
refused. To see every mistake and every app's host: ignite-gateway check --config gateway.toml

A duration is text with its unit: \"250ms\", \"10s\", \"5m\", \"1h 30m\". A size is text too, \
\"32KiB\" or \"10MB\", or a plain number of bytes.

All but the apps can come from the environment, which beats this file: \
IGNITE_GATEWAY__DOMAIN=example.org, IGNITE_GATEWAY__TIMEOUTS__HEADER=5s, \
IGNITE_GATEWAY__LISTENERS=0.0.0.0:8080,[::]:8080";

const TLS_EXAMPLE: &str = r#"# TLS of the listener above. Relative paths begin at this file's folder, and the files are read
# again when they change.
#
# [listener.tls]
# # Chosen by the name that a caller asks for (SNI); the first when none has it.
# certificates = [{ certificate = "tls/tls.crt", key = "tls/tls.key" }]
# min_version = "1.2"         # or "1.3"
# client_ca = "tls/ca.crt"    # callers show certificates, too, of these authorities
# client_auth = "required"    # or "optional": a caller without one is served
"#;

const EXAMPLES: &str = r#"# The apps. The simplest has one port, 80. This one's host is
# hello-acme.ignite.dodil.cloud

[[app]]
organization = "acme"
name = "hello"
endpoints = ["127.0.0.1:3000"]

# An app with all its settings. Its hosts are my-data-processor-acme-corp.ignite.dodil.cloud and,
# for port 8080, my-data-processor-acme-corp-8080.ignite.dodil.cloud
#
# [[app]]
# organization = "acme-corp"
# name = "my-data-processor"
# concurrency = 200           # requests that it works on at once; 0: no limit
# endpoint_concurrency = 100  # the same for each of its endpoints
# # By all callers together; beyond it they get 429.
# rate_limit = { requests = 100, per = "1s", burst = 200 }
# deployment_mode = "image"   # or "compile": built by the platform, and the settings below ignored
# health_path = "/healthz"    # where the app says that it is ready
# invoke_path = "/"           # its main route, as documentation: it routes nothing
# health_check = true         # false: every endpoint counts as ready
# ports = [
#   { port = 80, endpoints = ["10.0.0.5:80", "10.0.0.6:80"] },
#   # One that is about to be taken down drains: it gets nothing new while another is ready.
#   { port = 8080, protocol = "http1", endpoints = [
#     { address = "10.0.0.5:8080", draining = true },
#     "10.0.0.6:8080",
#   ] },
# ]
"#;

/// The text of `config/gateway.toml`: every setting with its default, and example apps.
pub fn annotated_default() -> String {
    let mut text = comment(INTRODUCTION);
    for (section, doc) in SECTIONS.iter().filter(|(section, _)| is_spelled_out(section)) {
        if !section.is_empty() {
            text.extend(["\n", &comment(doc), &header(section), "\n"]);
        }
        for (number, setting) in
            SETTINGS.iter().filter(|setting| setting.section == *section).enumerate()
        {
            if number > 0 || section.is_empty() {
                text.push('\n');
            }
            text.push_str(&comment(&setting.doc.replace('`', "")));
            text.extend([setting.key, " = ", setting.default, "\n"]);
        }
        if *section == "listener" {
            text.extend(["\n", TLS_EXAMPLE]);
        }
    }
    text.push('\n');
    text.push_str(EXAMPLES);
    text
}

/// Whether the section has defaults; apps and TLS need files and addresses that only examples have.
pub(super) fn is_spelled_out(section: &str) -> bool {
    !section.starts_with("app") && !section.contains('.')
}

/// The README's table of the configuration.
pub fn markdown_table() -> String {
    let code = |text: &str| match text {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    let row = |setting: &Setting| {
        let variable = setting.variable().unwrap_or_default();
        let [key, default, variable] = [&setting.path(), setting.default, &variable].map(code);
        format!("| {key} | {default} | {variable} | {} |\n", setting.doc)
    };
    let head = "| key | default | environment variable | what it does |\n\
                | --- | --- | --- | --- |\n";
    std::iter::once(head.to_owned()).chain(SETTINGS.iter().map(row)).collect()
}

/// Comment lines of at most 100 characters; an empty line stays one.
fn comment(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                lines.push_str(&line);
                lines.push('\n');
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
