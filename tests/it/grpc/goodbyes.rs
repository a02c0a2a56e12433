//! Apps that say goodbye on a connection while many calls are under way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Response};
use tokio::net::TcpListener;

use super::{begin, connect, field, gateway, message, run, soon};
use crate::support::HOST;

/// An app that answers each call with its message, and says goodbye on each connection after a few.
async fn restless_app(connections: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut calls = 0;
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    calls += 1;
                    if calls == 20 {
                        connection.graceful_shutdown();
                    }
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        let mut outgoing = respond.send_response(Response::new(()), false)?;
                        while let Some(data) = body.data().await {
                            outgoing.send_data(data?, false)?;
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        outgoing.send_trailers(trailers)
                    });
                }
            });
        }
    });
    address
}

#[test]
fn no_call_of_many_is_lost_when_apps_say_goodbye() {
    run(async {
        let connections = Arc::new(AtomicUsize::new(0));
        let address = restless_app(connections.clone()).await;
        let gateway = gateway(address, |_| {});
        let callers: Vec<_> = (0..8)
            .map(|_| gateway.address())
            .map(|address| {
                tokio::spawn(async move {
                    let mut requests = connect(address).await;
                    for round in 0..100_u32 {
                        let (response, mut outgoing) = begin(&mut requests, HOST, &[]);
                        let sent = message(&round.to_be_bytes());
                        outgoing.send_data(sent.clone(), true).unwrap();
                        let response = soon(response).await.unwrap();
                        assert_eq!(field(response.headers(), "grpc-status"), None, "{round}");
                        let mut body = response.into_body();
                        assert_eq!(soon(body.data()).await.unwrap().unwrap(), sent);
                        let trailers = soon(body.trailers()).await.unwrap().unwrap();
                        assert_eq!(trailers["grpc-status"], "0");
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert!(connections.load(Ordering::SeqCst) > 8, "there were goodbyes");
    });
}
