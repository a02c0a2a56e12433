//! Contender `nginx`: a master and its workers, connections to the backend kept alive in a pool larger
//! than the load, bodies in buffers of 64 KiB (as the relay's) that never go through a file, gRPC by
//! `grpc_pass`, which has a connection to the app for each call under way.
//!
//! Without a module outside its core, nginx cannot remove header fields by a prefix of their name: it
//! is asked for the three names of the contract only, which is a little less work than the others do.

use std::fmt::Write as _;
use std::fs;

use crate::Fallible;
use crate::apps::APPS;
use crate::contender::{Place, Recipe};
use crate::setting::{Edge, Setting};
use crate::tools;

pub(crate) fn recipe(place: &Place<'_>) -> Fallible<Recipe> {
    let program = tools::find("nginx").ok_or("not installed (apt-get install nginx)")?;
    let file = place.folder.join("nginx.conf");
    fs::write(&file, configuration(place))?;
    let version = tools::version(&program, "-v").replace("nginx version: ", "");
    let folder = place.folder.as_os_str();
    let command = vec![
        program.into(),
        "-p".into(),
        folder.into(),
        "-e".into(),
        place.folder.join("nginx-error.log").into(),
        "-c".into(),
        file.into_os_string(),
    ];
    Ok(Recipe::of(command, version))
}

fn configuration(place: &Place<'_>) -> String {
    let Place { setting: Setting { edge, workers, .. }, identity, listen, backend, folder, .. } =
        place;
    let folder = folder.display();
    let (speaking, tls) = if edge.has_tls() {
        let (certificate, key) = (identity.certificate.display(), identity.key.display());
        // Before 1.23.4 its default ends at TLS 1.2.
        let tls = format!(
            "ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    \
             ssl_protocols TLSv1.2 TLSv1.3;"
        );
        (" ssl http2", tls)
    } else {
        ("", String::new())
    };
    // A queue of new connections for each worker, or one of them takes most.
    let own_queue = if *workers > 1 { " reuseport" } else { "" };
    let (module, scheme, settings) = match edge {
        Edge::Plain | Edge::Tls => ("proxy", "http", PROXY_SETTINGS),
        Edge::Grpc => ("grpc", "grpc", ""),
    };
    let mut text = format!(
        r#"daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 16384; }}

http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    server_names_hash_bucket_size 128;
    {tls}

    map $http_via $via {{
        ""      "1.1 nginx";
        default "$http_via, 1.1 nginx";
    }}
    map $http_upgrade $upgrading {{
        ""      "";
        default upgrade;
    }}
    upstream app {{
        server {backend};
        keepalive 4096;
        keepalive_requests 1000000000;
        keepalive_timeout 75s;
    }}
    {settings}
    {module}_hide_header x-ignite-execution-id;
    {module}_hide_header x-ignite-function-id;
    {module}_hide_header x-ignite-organization-id;
    add_header x-ignite-execution-id $request_id always;

    server {{
        listen {listen} default_server{speaking}{own_queue};
        return 404;
    }}
"#
    );
    let upgrade = if module == "proxy" { UPGRADE } else { "" };
    for app in &APPS {
        let _ = write!(
            text,
            r"
    server {{
        listen {listen}{speaking};
        server_name {host};
        location / {{
            {module}_pass {scheme}://app;
            {upgrade}
            {module}_set_header Host $http_host;
            {module}_set_header x-ignite-execution-id $request_id;
            {module}_set_header x-ignite-function-id {id};
            {module}_set_header x-ignite-organization-id {organization};
            {module}_set_header X-Forwarded-For $remote_addr;
            {module}_set_header X-Forwarded-Proto $scheme;
            {module}_set_header X-Forwarded-Host $http_host;
            {module}_set_header Via $via;
        }}
    }}
",
            host = app.host(),
            id = app.function_id(),
            organization = app.organization,
        );
    }
    text.push_str("}\n");
    text
}

/// Requests are passed on as they come. The buffers hold a whole answer of 64 KiB, so that none goes
/// through a file; with the default for requests (16 KiB) an upload took twice the CPU time.
const PROXY_SETTINGS: &str = "
    proxy_http_version 1.1;
    proxy_request_buffering off;
    client_body_buffer_size 64k;
    proxy_max_temp_file_size 0;
    proxy_buffer_size 16k;
    proxy_buffers 8 32k;
    proxy_busy_buffers_size 64k;";

const UPGRADE: &str = "
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrading;";
