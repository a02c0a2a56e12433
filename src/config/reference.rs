//! Every setting once: its key, its default, its meaning.
//!
//! The annotated `config/gateway.toml`, the README's table, the keys that the
//! reader knows and the environment variables all come from [`SETTINGS`].
//! Tests hold its defaults to those of [`super::Config`].

/// What the name of every environment variable of ours begins with.
pub const PREFIX: &str = "IGNITE_GATEWAY__";

/// No name of a key or of a variable is longer.
pub(super) const LONGEST_NAME: usize = 64;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The table that holds it; empty for the file's top.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// Its default as TOML; empty when there is none.
    pub default: &'static str,
    /// What it does, with its unit, its range and what 0 means.
    pub doc: &'static str,
}

const fn row(
    section: &'static str,
    key: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { section, key, default, doc }
}

/// The sections in the order of the file, and what they hold.
const SECTIONS: &[(&str, &str)] = &[
    ("", ""),
    ("listener", "Where calls arrive, as plain HTTP/1.1. Repeat the section for more addresses."),
    ("admin", "The operator's own listener. It shows every app: keep it off public networks."),
    ("timeouts", "How long anything may take: 1ms to 24h each."),
    ("limits", "How much anything may use."),
    ("access_log", "One line per request."),
    ("app", ""),
    ("app.ports", ""),
];

/// Every setting, in the order of the file.
pub const SETTINGS: &[Setting] = &[
    row(
        "",
        "domain",
        "\"ignite.dodil.cloud\"",
        "The domain under which every app gets its hosts: `<name>-<organization>.<domain>` for \
         port 80, `<name>-<organization>-<port>.<domain>` for any other.",
    ),
    row("", "workers", "0", "Worker threads, at most 1024; 0: one per available core."),
    row(
        "",
        "trusted_proxies",
        "[]",
        "Proxies whose `X-Forwarded-*` fields are believed: networks or addresses, e.g. \
         `[\"10.0.0.0/8\"]`.",
    ),
    row("listener", "address", "\"0.0.0.0:8080\"", "The address to bind; port 0: any free port."),
    row("admin", "address", "\"127.0.0.1:9090\"", "The address to bind; port 0: any free port."),
    row("timeouts", "header", "\"10s\"", "From the first byte of a request's head to its last."),
    row("timeouts", "connect", "\"2s\"", "To connect to an endpoint, each try."),
    row(
        "timeouts",
        "response",
        "\"300s\"",
        "From the whole request sent to the response's head received.",
    ),
    row("timeouts", "idle_body", "\"60s\"", "Between two pieces of a body, in either direction."),
    row("timeouts", "keepalive", "\"75s\"", "How long a caller's idle connection is kept."),
    row(
        "timeouts",
        "upstream_keepalive",
        "\"60s\"",
        "How long an idle connection to an endpoint is kept; an app's own `Keep-Alive: timeout` \
         shortens it.",
    ),
    row(
        "timeouts",
        "ready",
        "\"30s\"",
        "How long a request waits for a ready endpoint, or for its turn at the app.",
    ),
    row(
        "timeouts",
        "drain_delay",
        "\"5s\"",
        "From the first signal to closing the listeners, so that load balancers notice; may be 0s.",
    ),
    row(
        "timeouts",
        "drain",
        "\"30s\"",
        "From closing the listeners to ending what still runs; may be 0s.",
    ),
    row(
        "limits",
        "connections",
        "65536",
        "Connections of callers, all workers together: 1 to 10000000.",
    ),
    row("limits", "header_bytes", "\"32KiB\"", "Size of a request's head: 1KiB to 1MiB."),
    row("limits", "headers", "100", "Fields of a request's head: 1 to 1000."),
    row(
        "limits",
        "request_target_bytes",
        "\"16KiB\"",
        "Size of a request's target, its path and query: 64B to 65534B, at most `header_bytes`.",
    ),
    row("limits", "request_body", "\"0\"", "Size of a request's body; 0: no limit."),
    row("limits", "response_header_bytes", "\"64KiB\"", "Size of a response's head: 1KiB to 1MiB."),
    row(
        "limits",
        "concurrent_streams",
        "256",
        "Requests that a caller may have under way on one HTTP/2 connection: 1 to 65536.",
    ),
    row(
        "limits",
        "stream_window",
        "\"256KiB\"",
        "Bytes of one HTTP/2 request's body that are taken before the app reads them: 65535B to \
         1GiB.",
    ),
    row(
        "limits",
        "connection_window",
        "\"1MiB\"",
        "The same for all requests of a connection together.",
    ),
    row(
        "limits",
        "stream_resets",
        "200",
        "HTTP/2 requests that a caller may cancel before they are answered; beyond, a connection \
         on which most requests were cancelled is closed: 1 to 1000000.",
    ),
    row(
        "limits",
        "control_frames",
        "1000",
        "HTTP/2 frames without content that a caller may send beyond the ten that each request or \
         piece of content, and each second, allows: 100 to 1000000.",
    ),
    row("limits", "app_concurrency", "0", "Requests that an app works on at once; 0: no limit."),
    row("limits", "app_queue", "1024", "Requests that wait for one app: 0 to 1000000."),
    row(
        "limits",
        "upstream_idle",
        "1024",
        "Idle connections that one worker keeps to one endpoint: 0 to 65536.",
    ),
    row(
        "access_log",
        "format",
        "\"auto\"",
        "`auto`: text on a terminal, JSON elsewhere; or `json`, `text`, `off`.",
    ),
    row(
        "access_log",
        "sample",
        "1.0",
        "The share of successful requests that is logged, 0 to 1; errors always are.",
    ),
    row("app", "organization", "", "Who owns the app: a DNS label. Required."),
    row("app", "name", "", "The app's name: a DNS label. Required."),
    row(
        "app",
        "endpoints",
        "",
        "Where the app listens, when port 80 is its only one, e.g. `[\"127.0.0.1:3000\"]`. \
         Either this or `ports`.",
    ),
    row(
        "app",
        "deployment_mode",
        "\"image\"",
        "`image`: the app's own container. `compile`: a container that the platform built; it has \
         port 80, and the keys below are ignored with a warning.",
    ),
    row(
        "app",
        "health_path",
        "\"/healthz\"",
        "Where the app says that it is ready; begins with `/`.",
    ),
    row(
        "app",
        "invoke_path",
        "\"/\"",
        "The app's main route, as documentation: it routes nothing; begins with `/`.",
    ),
    row("app", "ports", "", "The app's ports, 1 to 32, each with a host of its own."),
    row(
        "app.ports",
        "port",
        "",
        "The container's port, 1 to 65535: it chooses the host. Required.",
    ),
    row("app.ports", "endpoints", "", "Where the app listens for this port. Required."),
    row(
        "app.ports",
        "protocol",
        "\"http1\"",
        "What the app speaks: `http1`, `h2c` (HTTP/2 without TLS, as gRPC servers do), or `auto`: \
         each endpoint is asked once.",
    ),
    row(
        "app",
        "health_check",
        "true",
        "Active probes of `health_path`; false: every endpoint counts as ready.",
    ),
];

impl Setting {
    /// `section.key`.
    pub fn path(&self) -> String {
        match self.section {
            "" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }

    /// The environment variable that sets it; apps stand in the file only.
    pub fn variable(&self) -> Option<String> {
        match self.section {
            "" => Some(format!("{PREFIX}{}", self.key.to_ascii_uppercase())),
            // One variable for all listeners: a variable cannot repeat.
            "listener" => Some(format!("{PREFIX}LISTENERS")),
            section if section.starts_with("app") => None,
            section => Some(format!("{PREFIX}{section}__{}", self.key).to_ascii_uppercase()),
        }
    }

    /// The section and key that its variable replaces.
    pub(super) fn overridden(&self) -> (&'static str, &'static str) {
        match self.section {
            "listener" => ("", "listener"),
            section => (section, self.key),
        }
    }

    /// Whether its variable holds several values.
    pub(super) fn is_list(&self) -> bool {
        self.section == "listener" || self.default.starts_with('[')
    }
}

/// The keys of a section, in the order of the file, with the sections inside it.
pub(super) fn keys(section: &str) -> Vec<&'static str> {
    let own = SETTINGS.iter().filter(|setting| setting.section == section);
    let inside = SECTIONS.iter().map(|(name, _)| *name);
    let inside =
        inside.filter(|name| section.is_empty() && !name.is_empty() && !name.contains('.'));
    own.map(|setting| setting.key).chain(inside).collect()
}

/// How a section stands in the file.
pub(super) fn header(section: &str) -> String {
    match section {
        "listener" | "app" => format!("[[{section}]]"),
        "app.ports" => "an entry of `ports` of [[app]]".to_owned(),
        section => format!("[{section}]"),
    }
}

const INTRODUCTION: &str = "\
The configuration of ignite-gateway: every setting, with its default.

Every key is optional: keep what you change, and leave out the rest. A key that is not known is \
refused. To see every mistake and every app's host: ignite-gateway check --config gateway.toml

A duration is text with its unit: \"250ms\", \"10s\", \"5m\", \"1h 30m\". A size is text too, \
\"32KiB\" or \"10MB\", or a plain number of bytes.

All but the apps can come from the environment, which beats this file: \
IGNITE_GATEWAY__DOMAIN=example.org, IGNITE_GATEWAY__TIMEOUTS__HEADER=5s, \
IGNITE_GATEWAY__LISTENERS=0.0.0.0:8080,[::]:8080";

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
# deployment_mode = "image"   # or "compile": built by the platform, and the settings below ignored
# health_path = "/healthz"    # where the app says that it is ready
# invoke_path = "/"           # its main route, as documentation: it routes nothing
# health_check = true         # false: every endpoint counts as ready
# ports = [
#   { port = 80, endpoints = ["10.0.0.5:80", "10.0.0.6:80"] },
#   { port = 8080, endpoints = ["10.0.0.5:8080"], protocol = "http1" },
# ]
"#;

/// The text of `config/gateway.toml`: every setting with its default, and example apps.
pub fn annotated_default() -> String {
    let mut text = comment(INTRODUCTION);
    for (section, doc) in SECTIONS.iter().filter(|(section, _)| !section.starts_with("app")) {
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
    }
    text.push('\n');
    text.push_str(EXAMPLES);
    text
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

#[cfg(test)]
mod tests;
