//! Health probes of ports that speak HTTP/2 alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Response;
use ignite_gateway::config::{AppPort, Protocol};

use super::{app, begin, connect, expect_status, message, run, soon};
use crate::support::edge::{Edge, QUICK};
use crate::support::{HOST, app as app_config, eventually};

#[test]
fn an_h2c_port_is_probed_over_http2_and_so_is_one_found_to_speak_it() {
    for protocol in [Protocol::H2c, Protocol::Auto] {
        run(async {
            let healthy = Arc::new(AtomicBool::new(false));
            let health = healthy.clone();
            let address = app(move |request, mut respond| {
                let up = health.load(Ordering::SeqCst) || request.uri().path() != "/ready";
                let status = if up { 200 } else { 503 };
                async move {
                    let response = Response::builder().status(status).header("app", "1");
                    respond.send_response(response.body(()).unwrap(), true).unwrap();
                }
            })
            .await;
            let edge = Edge::with(QUICK, |config| {
                let mut app = app_config("acme/hello", &[]);
                let endpoints = vec![address];
                app.ports = vec![AppPort { port: 80, endpoints, draining: Vec::new(), protocol }];
                (app.health_check, app.health_path) = (true, "/ready".to_owned());
                config.apps.push(app);
            });
            let route = edge.route(HOST);
            let mut requests = connect(edge.address()).await;
            let timeout = [("grpc-timeout", "50m")];
            let (response, _outgoing) = begin(&mut requests, HOST, &timeout);
            expect_status(&soon(response).await.unwrap(), "4", "http_response_timeout");
            healthy.store(true, Ordering::SeqCst);
            eventually("the endpoint is ready", || route.endpoints[0].is_ready());
            let (response, mut outgoing) = begin(&mut requests, HOST, &[]);
            outgoing.send_data(message(b"hello"), true).unwrap();
            assert!(soon(response).await.unwrap().headers().contains_key("app"));
            healthy.store(false, Ordering::SeqCst);
            eventually("the endpoint is not ready", || !route.endpoints[0].is_ready());
        });
    }
}
