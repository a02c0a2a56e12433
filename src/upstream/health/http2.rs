//! The probe of a port that speaks HTTP/2 without TLS.
//!
//! By hyper's client and not the data path's own session, which belongs to one
//! thread: probes run on the control plane and may move between its threads.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use tokio::task::JoinSet;

use super::{ProbeFailure, USER_AGENT, connect, judge};

/// The most that an app may send before it is read, and the largest head: as much as is read at all.
const WINDOW: u32 = 64 << 10;

pub(super) async fn exchange(address: SocketAddr, path: &str) -> Result<(), ProbeFailure> {
    let request = Request::get(format!("http://{address}{path}"))
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(ProbeFailure::Path)?;
    let (mut sender, connection) = http2::Builder::new(Tasks::default())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(WINDOW)
        .handshake(connect(address).await?)
        .await
        .map_err(ProbeFailure::Broken)?;
    let mut answer = pin!(judge(sender.send_request(request)));
    tokio::select! {
        biased;
        result = &mut answer => result,
        _ = connection => answer.await,
    }
}

/// The tasks that hyper splits a connection into. They end with the probe, however it ends.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::time::Duration;

    use http::Response;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::{Speech, probe};
    use super::*;

    const PATIENT: Duration = Duration::from_secs(20);

    /// Answers the first request of each connection with this status; a body of `content` bytes
    /// that never ends follows, if there is to be one.
    async fn app(status: u16, content: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await?;
                    while let Some(request) = connection.accept().await {
                        let (request, mut respond) = request?;
                        assert_eq!(request.method(), "GET");
                        assert_eq!(request.uri().path(), "/healthz");
                        assert_eq!(
                            request.uri().authority().unwrap().as_str(),
                            address.to_string()
                        );
                        let response = Response::builder().status(status).body(()).unwrap();
                        let mut body = respond.send_response(response, content == 0)?;
                        tokio::spawn(async move {
                            if content > 0 {
                                body.send_data(vec![0; content].into(), false)?;
                                std::future::pending::<()>().await;
                            }
                            Ok::<(), h2::Error>(())
                        });
                    }
                    Ok::<(), h2::Error>(())
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_success_over_http2_is_one_and_another_status_is_none() {
        let address = app(204, 0).await;
        probe(address, "/healthz", Speech::Http2, PATIENT).await.unwrap();
        let address = app(503, 0).await;
        let failure = probe(address, "/healthz", Speech::Http2, PATIENT).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Status(503)), "{failure:?}");
    }

    #[tokio::test]
    async fn what_speaks_only_http2_is_found_by_a_probe_that_knows_neither() {
        let address = app(200, 0).await;
        probe(address, "/healthz", Speech::Either, PATIENT).await.unwrap();
        let failure = probe(address, "/healthz", Speech::Http1, PATIENT).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Broken(_)), "{failure:?}");
    }

    #[tokio::test]
    async fn an_endless_body_does_not_hold_the_probe_and_one_that_stalls_is_late() {
        let address = app(200, 1 << 20).await;
        probe(address, "/healthz", Speech::Http2, PATIENT).await.unwrap();
        let address = app(200, 1).await;
        let soon = Duration::from_millis(50);
        let failure = probe(address, "/healthz", Speech::Http2, soon).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Timeout), "{failure:?}");
    }

    #[tokio::test]
    async fn an_app_that_speaks_no_http2_fails_and_a_silent_one_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let (mut silent, _) = listener.accept().await.unwrap();
            // It is closed with everything that belongs to it.
            silent.read_to_end(&mut Vec::new()).await.unwrap();
        };
        let probes = async {
            let failure = probe(address, "/", Speech::Http2, PATIENT).await.unwrap_err();
            assert!(matches!(failure, ProbeFailure::Broken(_)), "{failure:?}");
            let soon = Duration::from_millis(50);
            let failure = probe(address, "/", Speech::Http2, soon).await.unwrap_err();
            assert!(matches!(failure, ProbeFailure::Timeout), "{failure:?}");
        };
        tokio::join!(app, probes);
    }
}
