//! Holds a contender to the work before it is measured: a fast proxy that skips it proves nothing.
//!
//! One call tries to forge every field of the platform, and the backend echoes what reached it; then
//! the scenario's own work is done once. What breaks the contract makes a contender absent from the
//! scenario; what only falls short of it is a remark.

mod call;
mod websocket;

use std::net::SocketAddr;

use crate::Fallible;
use crate::apps::CALLED;
use crate::backend::grpc::framed;
use crate::backend::{Checksum, pattern};
use crate::head::Head;
use crate::scenario::{Scenario, Work};
use crate::setting::Edge;
use crate::tls;

use call::{Caller, Request, Speech};

/// What the caller and the app must not see, by the names under which backends would read it.
const FORGED: [(&str, &str); 7] = [
    ("x-ignite-organization-id", "evil"),
    ("X-Ignite-Organization-Id", "evil"),
    ("X-Ignite-Function-Id", "evil"),
    ("X-IGNITE-EXECUTION-ID", "evil"),
    ("X_Ignite_Organization_Id", "evil"),
    ("X-Forwarded-For", "192.0.2.66"),
    ("X-Ignite-Other", "unknown-but-reserved"),
];

/// A call comes back with 200.
pub(crate) async fn answers(address: SocketAddr, edge: Edge, client: &tls::Client) -> Fallible<()> {
    let speech = match edge {
        Edge::Plain => Speech::Http1,
        Edge::Tls => Speech::Http1Tls,
        Edge::Grpc => Speech::GrpcTls,
    };
    let reply = Caller { address, speech, client }.call(&Request::to(&CALLED.host(), "/")).await?;
    if reply.status == 200 { Ok(()) } else { Err(format!("status {}", reply.status).into()) }
}

/// Whether there is an app behind the host.
pub(crate) async fn serves(
    address: SocketAddr,
    host: &str,
    client: &tls::Client,
) -> Fallible<bool> {
    let caller = Caller { address, speech: Speech::Http1, client };
    Ok(caller.call(&Request::to(host, "/")).await?.succeeded())
}

/// The number of connections that the backend has had.
pub(crate) async fn connections_accepted(
    backend: SocketAddr,
    client: &tls::Client,
) -> Fallible<u64> {
    let caller = Caller { address: backend, speech: Speech::Http1, client };
    let reply = caller.call(&Request::to("backend", "/accepted")).await?;
    Ok(String::from_utf8_lossy(&reply.body).trim().parse()?)
}

/// The header work is done, an unknown host goes nowhere, and the scenario's work comes out right.
/// Returns remarks.
pub(crate) async fn works(
    address: SocketAddr,
    scenario: Scenario,
    client: &tls::Client,
) -> Fallible<Vec<String>> {
    let speech = match scenario.work {
        Work::Grpc => Speech::GrpcTls,
        Work::Http2 => Speech::Http2Tls,
        _ if scenario.edge().has_tls() => Speech::Http1Tls,
        _ => Speech::Http1,
    };
    let caller = Caller { address, speech, client };
    if scenario.work == Work::WebSocket {
        return websocket::works(address, scenario.edge()).await;
    }
    let remarks = header_work(&caller, scenario.edge()).await?;
    match scenario.work {
        Work::Upload => upload(&caller, scenario.size).await?,
        Work::Grpc => unary(&caller, scenario.size).await?,
        _ => download(&caller, scenario.size).await?,
    }
    Ok(remarks)
}

async fn header_work(caller: &Caller<'_>, edge: Edge) -> Fallible<Vec<String>> {
    let stranger = caller.call(&Request::to("nobody.invalid", "/")).await?;
    if stranger.succeeded() {
        return Err("answers for a host that it has no app for".into());
    }
    let mut forged = Request::to(&CALLED.host(), "/echo");
    forged.fields.extend(FORGED);
    let reply = caller.call(&forged).await?;
    if !reply.succeeded() {
        return Err(format!("status {} to the forged call", reply.status).into());
    }
    let echoed = if caller.speech == Speech::GrpcTls {
        reply.body.get(5..).unwrap_or_default()
    } else {
        &reply.body
    };
    let seen = Head::parse(&String::from_utf8_lossy(echoed));
    if caller.speech == Speech::GrpcTls && seen.the_one("te")? != "trailers" {
        return Err("te: trailers does not reach the app".into());
    }
    contract(&seen, &reply.head, edge)
}

/// What the app and the caller see of a forged call.
fn contract(app: &Head, caller: &Head, edge: Edge) -> Fallible<Vec<String>> {
    if app.text.contains("evil") {
        return Err(format!("a forged field reaches the backend:\n{}", app.text).into());
    }
    if caller.text.contains("evil") {
        return Err("a forged field of the backend reaches the caller".into());
    }
    let (host, execution) = (CALLED.host(), caller.the_one("x-ignite-execution-id")?);
    let expected = [
        ("host", host.as_str()),
        ("x-ignite-execution-id", execution),
        ("x-ignite-function-id", &CALLED.function_id()),
        ("x-ignite-organization-id", CALLED.organization),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", edge.scheme()),
        ("x-forwarded-host", &host),
    ];
    for (name, value) in expected {
        let found = app.the_one(name)?;
        if found != value {
            return Err(format!("{name} is {found:?} at the backend, not {value:?}").into());
        }
    }
    app.the_one("via")?;
    if app.text.to_ascii_lowercase().contains("x-ignite-other") {
        return Ok(vec!["removes the named x-ignite-* fields only, not every such name".into()]);
    }
    Ok(Vec::new())
}

async fn download(caller: &Caller<'_>, size: usize) -> Fallible<()> {
    let reply = caller.call(&Request::to(&CALLED.host(), &format!("/{size}"))).await?;
    if reply.status != 200 || reply.body != pattern(size) {
        let length = reply.body.len();
        return Err(format!("status {}, {length} bytes for {size}", reply.status).into());
    }
    Ok(())
}

async fn upload(caller: &Caller<'_>, size: usize) -> Fallible<()> {
    let mut request = Request::to(&CALLED.host(), "/received");
    request.body = pattern(size);
    let mut sum = Checksum::new();
    sum.add(&request.body);
    let reply = caller.call(&request).await?;
    let said = String::from_utf8_lossy(&reply.body);
    if reply.status != 200 || said != sum.describe() {
        let sent = sum.describe();
        return Err(format!("status {}: {said:?} arrived of {sent}", reply.status).into());
    }
    Ok(())
}

async fn unary(caller: &Caller<'_>, size: usize) -> Fallible<()> {
    let mut request = Request::to(&CALLED.host(), "/compare.Echo/Unary");
    request.body = framed(&pattern(size)).to_vec();
    let reply = caller.call(&request).await?;
    let status = reply.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    if reply.status != 200 || reply.body != request.body || status.is_none_or(|it| it != "0") {
        let length = reply.body.len();
        return Err(format!("{length} bytes back, grpc-status {status:?}").into());
    }
    Ok(())
}
