//! The tally against a model, the loop on a paused clock, the probe against
//! scripted raw sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::*;

const PATIENT: Duration = Duration::from_secs(20);

#[test]
fn three_failures_in_a_row_make_unready_and_one_success_ready() {
    let mut tally = Tally::new(Timings::CONTRACT, true);
    let results = [false, false, true, false, false, false, false, true];
    let changes: Vec<_> = results.map(|success| tally.record(success)).into();
    let mut expected = vec![None; 8];
    expected[5] = Some(Change::Unready);
    expected[7] = Some(Change::Ready);
    assert_eq!(changes, expected);
}

#[test]
fn an_app_that_was_never_ready_does_not_become_unready() {
    let mut tally = Tally::new(Timings::CONTRACT, false);
    assert!((0..10).all(|_| tally.record(false).is_none()));
    assert_eq!(tally.record(true), Some(Change::Ready));
}

proptest! {
    /// The model keeps all results since the last change and looks at their tail.
    #[test]
    fn the_tally_agrees_with_a_model_that_remembers_everything(
        results in proptest::collection::vec(any::<bool>(), 0..200),
        failures in 0..6_u32,
        successes in 0..6_u32,
        initially in any::<bool>(),
    ) {
        let timings = Timings { failures, successes, ..Timings::CONTRACT };
        let mut tally = Tally::new(timings, initially);
        let (mut ready, mut since) = (initially, Vec::new());
        for result in results {
            since.push(result);
            let needed = if ready { failures } else { successes }.max(1) as usize;
            let flips = since.len() >= needed && since.iter().rev().take(needed).all(|r| *r != ready);
            if flips {
                ready = !ready;
                since.clear();
            }
            let change = tally.record(result);
            prop_assert_eq!(change.is_some(), flips);
            prop_assert_eq!(tally.ready(), ready);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_watch_waits_first_and_then_probes_from_start_to_start() {
    let began = Instant::now();
    let starts = RefCell::new(Vec::new());
    let (seen, mut reports) = mpsc::unbounded_channel();
    let probe = || async {
        starts.borrow_mut().push(began.elapsed().as_millis());
        let number = starts.borrow().len();
        time::sleep(Duration::from_millis(900)).await;
        if number == 2 { Ok(()) } else { Err(ProbeFailure::Timeout) }
    };
    let watching = repeat(Timings::CONTRACT, probe, &hurry::NoHurry, |report| {
        seen.send((report.ready, report.change)).unwrap();
    });
    assert!(time::timeout(Duration::from_secs(30), watching).await.is_err(), "it never ends");

    assert_eq!(*starts.borrow(), [2000, 7000, 12_000, 17_000, 22_000, 27_000]);
    let mut all = Vec::new();
    while let Ok(report) = reports.try_recv() {
        all.push(report);
    }
    let ready = (true, None);
    let (up, down) = (Some(Change::Ready), Some(Change::Unready));
    assert_eq!(all, [(false, None), (true, up), ready, ready, (false, down), (false, None)]);
}

#[tokio::test(start_paused = true)]
async fn without_the_initial_delay_the_first_probe_is_at_once() {
    let began = Instant::now();
    let first = RefCell::new(None);
    let probe = || async {
        first.borrow_mut().get_or_insert(began.elapsed());
        Ok(())
    };
    let timings = Timings::CONTRACT.without_initial_delay();
    let watching = repeat(timings, probe, &hurry::NoHurry, |_| ());
    assert!(time::timeout(Duration::from_secs(1), watching).await.is_err());
    assert_eq!(*first.borrow(), Some(Duration::ZERO));
}

/// Answers one connection with `reply`, then closes; gives the request back.
async fn scripted(
    reply: &'static [u8],
) -> (SocketAddr, impl Future<Output = Result<String, tokio::task::JoinError>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, request) = asked(&listener).await;
        stream.write_all(reply).await.unwrap();
        request
    });
    (address, server)
}

/// Accepts a connection and reads its request.
async fn asked(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let read = stream.read_buf(&mut request).await.unwrap();
        assert_ne!(read, 0, "the probe left before its request was whole");
    }
    (stream, String::from_utf8(request).unwrap())
}

async fn outcome(reply: &'static [u8]) -> Result<(), ProbeFailure> {
    let (address, server) = scripted(reply).await;
    let outcome = probe(address, "/healthz", Speech::Http1, PATIENT).await;
    server.await.unwrap();
    outcome
}

#[tokio::test]
async fn the_request_is_a_plain_get_that_names_the_probe() {
    let (address, server) = scripted(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    probe(address, "/up?deep=%2F", Speech::Http1, PATIENT).await.unwrap();
    let mut lines: Vec<_> =
        server.await.unwrap().trim_end().lines().map(str::to_lowercase).collect();
    lines[1..].sort_unstable();
    let host = format!("host: {address}");
    let agent = "user-agent: ignite-gateway-probe";
    assert_eq!(lines, ["get /up?deep=%2f http/1.1", "connection: close", &host, agent]);
}

#[tokio::test]
async fn every_2xx_is_success() {
    outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    outcome(b"HTTP/1.1 200 OK\r\n\r\nuntil the close").await.unwrap();
    outcome(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
    outcome(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    outcome(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
}

#[tokio::test]
async fn any_other_status_is_failure_and_no_redirect_is_followed() {
    for (reply, status) in [
        (&b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n"[..], 302),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101),
    ] {
        let failure = outcome(reply).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Status(got) if got == status), "{failure:?}");
        assert_eq!(failure.to_string(), format!("the answer was {status}, not 2xx"));
    }
}

#[tokio::test]
async fn garbage_and_broken_answers_are_failures() {
    for reply in [
        &b""[..],
        b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let failure = outcome(reply).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Broken(_)), "{reply:?}: {failure:?}");
    }
}

#[tokio::test]
async fn an_app_that_closes_at_once_is_broken() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (result, ()) = tokio::join!(probe(address, "/", Speech::Http1, PATIENT), async {
        drop(listener.accept().await.unwrap());
    });
    assert!(matches!(result, Err(ProbeFailure::Broken(_))), "{result:?}");
}

#[tokio::test]
async fn an_app_that_never_answers_times_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let result = probe(address, "/", Speech::Http1, Duration::from_millis(30)).await;
    assert!(matches!(result, Err(ProbeFailure::Timeout)), "{result:?}");
}

#[tokio::test]
async fn an_endless_body_does_not_hold_the_probe() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = asked(&listener).await;
        let mut next = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while next.is_ok() {
            next = stream.write_all(&[b'x'; 4096]).await;
        }
    };
    let (result, ()) = tokio::join!(probe(address, "/", Speech::Http1, PATIENT), server);
    result.unwrap();
}

#[tokio::test]
async fn an_endless_head_does_not_fill_memory() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = asked(&listener).await;
        let mut next = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while next.is_ok() {
            next = stream.write_all(&[b'x'; 4096]).await;
        }
    };
    let (result, ()) = tokio::join!(probe(address, "/", Speech::Http1, PATIENT), server);
    assert!(matches!(result, Err(ProbeFailure::Broken(_))), "{result:?}");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_refused() {
    // Bound and not listening: no other test can take the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let result = probe(socket.local_addr().unwrap(), "/", Speech::Http1, PATIENT).await;
    assert!(matches!(result, Err(ProbeFailure::Refused)), "{result:?}");
}

#[tokio::test]
async fn a_path_that_no_request_can_carry_is_named_as_such() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let result = probe(address, "/a b", Speech::Http1, PATIENT).await;
    assert!(matches!(result, Err(ProbeFailure::Path(_))), "{result:?}");
}

#[tokio::test]
async fn the_watch_probes_over_real_sockets() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        for status in ["200", "500", "500"] {
            let (mut stream, _) = asked(&listener).await;
            let reply = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        std::future::pending::<()>().await;
    };
    let short = Duration::from_millis(1);
    let timings = Timings {
        initial_delay: short,
        period: short,
        timeout: PATIENT,
        failures: 2,
        successes: 1,
    };
    let (seen, mut reports) = mpsc::unbounded_channel();
    let watching = tokio::spawn(async move {
        watch(
            address,
            "/healthz",
            timings,
            || Speech::Http1,
            &hurry::NoHurry,
            |report| {
                seen.send(report).unwrap();
            },
        )
        .await
    });
    let readiness = async {
        for (ready, change) in
            [(true, Some(Change::Ready)), (true, None), (false, Some(Change::Unready))]
        {
            let report = reports.recv().await.unwrap();
            assert_eq!((report.ready, report.change), (ready, change), "{report:?}");
        }
    };
    tokio::select! {
        () = server => {}
        () = readiness => {}
    }
    watching.abort();
    assert!(watching.await.unwrap_err().is_cancelled());
}
