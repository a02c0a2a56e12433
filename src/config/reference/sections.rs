//! The sections of the file and how they stand in it.

use super::SETTINGS;

/// The sections in the order of the file, and what they hold.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("", ""),
    ("listener", "Where calls arrive. Repeat the section for more addresses."),
    (
        "listener.tls",
        "TLS of the listener above it; without the section it speaks plain HTTP. Relative paths \
         begin at this file's folder. The files are read again when they change.",
    ),
    ("listener.tls.certificates", ""),
    ("admin", "The operator's own listener. It shows every app: keep it off public networks."),
    ("timeouts", "How long anything may take: 1ms to 24h each."),
    ("limits", "How much anything may use."),
    (
        "outlier_ejection",
        "Endpoints that fail requests are left alone for a while, if others are ready.",
    ),
    ("retries", "Requests that certainly did no harm are tried again at another endpoint."),
    (
        "rate_limit",
        "How often each client may call, all apps and workers together. Clients are told apart by \
         address, IPv6 by /64: behind trusted_proxies the nearest address in X-Forwarded-For that \
         is not one of theirs.",
    ),
    ("overload", "What happens when the gateway itself has too much to do."),
    ("access_log", "One line per request."),
    ("tracing", "Spans of requests, for an OpenTelemetry collector; docs/traces.md shows them."),
    ("app", ""),
    ("app.endpoints", ""),
    ("app.rate_limit", ""),
    ("app.ports", ""),
];

/// The keys of a section, in the order of the file, with the sections inside it.
pub(in crate::config) fn keys(section: &str) -> Vec<&'static str> {
    let own = SETTINGS.iter().filter(|setting| setting.section == section);
    let mut keys: Vec<_> = own.map(|setting| setting.key).collect();
    for (name, _) in SECTIONS {
        let (outer, key) = name.rsplit_once('.').unwrap_or(("", name));
        // A list of tables stands among the settings already.
        if outer == section && !key.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// How a section stands in the file.
pub(in crate::config) fn header(section: &str) -> String {
    match section {
        "listener" | "app" => format!("[[{section}]]"),
        "app.rate_limit" => "`rate_limit` of [[app]]".to_owned(),
        "app.endpoints" => "an entry of `endpoints` of [[app]]".to_owned(),
        "app.ports" => "an entry of `ports` of [[app]]".to_owned(),
        "listener.tls.certificates" => "an entry of `certificates` of [listener.tls]".to_owned(),
        section => format!("[{section}]"),
    }
}
