//! Streams where HTTP/2 is spoken on one side or on both: in lockstep, beside
//! each other, and against a side that stands still.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::timeout;

use crate::binary::{Folder, Serve, config};
use crate::streaming_memory::{FIRST, SLACK, peak};
use crate::support::talk::{App, Caller, PAIRS, Talk, Version, run};
use crate::support::{LIMIT, PIECE};

/// Sizes around what is joined, what a frame holds, what a window does and what one read takes.
const SIZES: [usize; 10] =
    [1, 2, 100, 4095, 4097, 16 << 10, (16 << 10) + 1, 65_535, 70_000, 200_000];
/// How long nothing must be taken to be believed that nothing more will.
const PATIENCE: Duration = Duration::from_millis(500);
/// The streams of one connection that are open at once.
const STREAMS: usize = 40;

/// Content that can be told from every other.
fn event(number: usize) -> Vec<u8> {
    let mut text = format!("id: {number}\ndata: ").into_bytes();
    let letter = b'a' + u8::try_from(number % 26).unwrap();
    text.resize(text.len() + SIZES[number % SIZES.len()], letter);
    text.extend(b"\n\n");
    text
}

async fn next<T>(channel: &mut mpsc::UnboundedReceiver<T>) -> T {
    timeout(LIMIT, channel.recv()).await.expect("the other side goes on").expect("it lives")
}

#[test]
fn each_event_is_with_its_caller_before_the_app_writes_the_next() {
    for (caller, app) in PAIRS {
        run(async {
            let (seen, bell) = mpsc::unbounded_channel::<()>();
            let bell = Arc::new(Mutex::new(bell));
            let app = App::start(app, move |_, mut talk| {
                let bell = bell.clone();
                async move {
                    for number in 0..2 * SIZES.len() {
                        next(&mut *bell.lock().await).await;
                        talk.say.send(&event(number)).await;
                    }
                    next(&mut *bell.lock().await).await;
                    talk.say.end().await;
                    talk.hear.rest().await;
                }
            })
            .await;
            let gateway = app.gateway();
            let mut talk = Caller::new(gateway.address(), caller).await.call("/events").await;
            talk.say.end().await;
            seen.send(()).unwrap();
            for number in 0..2 * SIZES.len() {
                let wanted = event(number);
                let got = talk.hear.read(wanted.len()).await;
                assert!(
                    got == wanted,
                    "event {number} from {app:?} to {caller:?}",
                    app = "the app"
                );
                seen.send(()).unwrap();
            }
            assert!(talk.hear.rest().await.is_empty());
        });
    }
}

#[test]
fn a_conversation_goes_both_ways_word_by_word() {
    for (caller, app) in PAIRS {
        run(async {
            let app = App::start(app, |_, mut talk| async move {
                for number in 0..2 * SIZES.len() {
                    talk.say.send(&event(number)).await;
                    let answer = event(number + 1);
                    assert!(talk.hear.read(answer.len()).await == answer, "answer {number}");
                }
                assert!(talk.hear.rest().await.is_empty());
                talk.say.send(b"last words").await;
                talk.say.end().await;
            })
            .await;
            let gateway = app.gateway();
            let mut talk = Caller::new(gateway.address(), caller).await.call("/").await;
            for number in 0..2 * SIZES.len() {
                let question = event(number);
                assert!(talk.hear.read(question.len()).await == question, "question {number}");
                talk.say.send(&event(number + 1)).await;
            }
            talk.say.end().await;
            assert_eq!(talk.hear.rest().await, b"last words");
        });
    }
}

#[test]
fn an_answer_that_is_complete_before_the_upload_reaches_the_caller_whole() {
    for (caller, app) in PAIRS {
        run(async {
            let done = Arc::new(Semaphore::new(0));
            let app = App::start(app, {
                let done = done.clone();
                move |_, mut talk| {
                    let done = done.clone();
                    async move {
                        talk.hear.read(5).await;
                        talk.say.send(&event(9)).await;
                        talk.say.end().await;
                        // An app that reads no more, and does not go either.
                        let _ = done.acquire().await;
                    }
                }
            })
            .await;
            let gateway = app.gateway();
            let mut talk = Caller::new(gateway.address(), caller).await.call("/").await;
            talk.say.send(b"hello").await;
            assert!(talk.hear.rest().await == event(9));
            done.add_permits(1);
        });
    }
}

#[test]
fn many_streams_of_one_connection_do_not_wait_for_each_other() {
    for app in [Version::Http1, Version::Http2] {
        run(async {
            let (bells, waits): (Vec<_>, Vec<_>) =
                (0..STREAMS).map(|_| mpsc::unbounded_channel::<()>()).unzip();
            let waits: Arc<Vec<_>> = Arc::new(waits.into_iter().map(Mutex::new).collect());
            let app = App::start(app, move |path, mut talk| {
                let waits = waits.clone();
                async move {
                    let stream: usize = path.strip_prefix('/').unwrap().parse().unwrap();
                    for number in 0..3 {
                        next(&mut *waits[stream].lock().await).await;
                        talk.say.send(format!("{stream:02} {number}").as_bytes()).await;
                    }
                    talk.say.end().await;
                    talk.hear.rest().await;
                }
            })
            .await;
            let gateway = app.gateway();
            let mut caller = Caller::new(gateway.address(), Version::Http2).await;
            let mut talks = Vec::new();
            for stream in 0..STREAMS {
                let mut talk = caller.call(&format!("/{stream}")).await;
                talk.say.end().await;
                talks.push(talk);
            }
            for number in 0..3 {
                // The last to have come is the first to be served, while all others stand still.
                for (stream, talk) in talks.iter_mut().enumerate().rev() {
                    bells[stream].send(()).unwrap();
                    let word = format!("{stream:02} {number}");
                    assert_eq!(talk.hear.read(word.len()).await, word.as_bytes());
                }
            }
            for talk in &mut talks {
                assert!(talk.hear.rest().await.is_empty());
            }
        });
    }
}

/// Sends until nothing more is taken; how much was.
async fn send_until_stuck(talk: &mut Talk) -> usize {
    // However late the machine is: nothing holds up the first.
    timeout(LIMIT, talk.say.send(&PIECE[..4096])).await.expect("the first is taken");
    let mut taken = 4096;
    while timeout(PATIENCE, talk.say.send(&PIECE[..4096])).await.is_ok() {
        taken += 4096;
    }
    taken
}

/// What a stream of which one side does not read may hold: windows, what the gateway has in hand,
/// and what the kernel's buffers grow to where a side speaks HTTP/1.1.
const IN_HAND: usize = 3 << 20;

/// As much as this machine lets the buffers of two connections grow to.
fn kernel() -> usize {
    let most = |name: &str| {
        let limits = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        limits.split_whitespace().last().unwrap().parse::<usize>().unwrap()
    };
    2 * (most("tcp_rmem") + most("tcp_wmem"))
}

fn bound(sender: Version, reader: Version) -> usize {
    if sender == Version::Http2 && reader == Version::Http2 { IN_HAND } else { IN_HAND + kernel() }
}

/// An app that sends without end on `/flood`, reads nothing on `/sink`, both until it may `leave`,
/// and else answers what it is sent.
async fn moody(
    version: Version,
    stuck: mpsc::UnboundedSender<usize>,
    leave: Arc<Semaphore>,
) -> App {
    App::start(version, move |path, mut talk| {
        let (stuck, leave) = (stuck.clone(), leave.clone());
        async move {
            match &path[..] {
                "/flood" => {
                    let taken = send_until_stuck(&mut talk).await;
                    let _ = stuck.send(taken);
                    let _ = leave.acquire().await.unwrap();
                }
                "/sink" => drop(leave.acquire().await.unwrap()),
                _ => {
                    let content = talk.hear.rest().await;
                    talk.say.send(&content).await;
                    talk.say.end().await;
                }
            }
        }
    })
    .await
}

async fn is_served(caller: &mut Caller) {
    for number in 0..SIZES.len() {
        let mut talk = caller.call("/echo").await;
        let content = event(number);
        let (sent, got) = tokio::join!(
            async {
                talk.say.send(&content).await;
                talk.say.end().await;
            },
            talk.hear.rest()
        );
        let () = sent;
        assert!(got == content, "{number}");
    }
}

#[test]
fn a_caller_who_reads_nothing_of_one_stream_stops_its_app_and_nobody_else() {
    for (version, app) in PAIRS {
        run(async {
            let (stuck, mut reports) = mpsc::unbounded_channel();
            let app_version = app;
            let leave = Arc::new(Semaphore::new(0));
            let app = moody(app, stuck, leave.clone()).await;
            let gateway = app.gateway();
            // Streams of a window each that together leave room in the connection's.
            let mut settings = h2::client::Builder::new();
            settings.initial_connection_window_size(16 << 20);
            let mut caller = Caller::with(gateway.address(), version, &mut settings).await;
            let mut silent = Vec::new();
            for _ in 0..3 {
                silent.push(caller.call("/flood").await);
                let taken = next(&mut reports).await;
                assert!(taken > 0 && taken < bound(app_version, version), "{taken} bytes");
            }
            is_served(&mut caller).await;
            // Where the app speaks HTTP/2, others may share its connection.
            is_served(&mut Caller::new(gateway.address(), Version::Http2).await).await;
            is_served(&mut Caller::new(gateway.address(), Version::Http1).await).await;
            leave.add_permits(1);
        });
    }
}

#[test]
fn an_app_that_reads_nothing_of_one_stream_stops_its_caller_and_nobody_else() {
    for (version, app) in PAIRS {
        run(async {
            let (stuck, _reports) = mpsc::unbounded_channel();
            let app_version = app;
            let leave = Arc::new(Semaphore::new(0));
            let app = moody(app, stuck, leave.clone()).await;
            let gateway = app.gateway();
            let mut caller = Caller::new(gateway.address(), version).await;
            let mut silent = Vec::new();
            for _ in 0..3 {
                let mut talk = caller.call("/sink").await;
                let taken = send_until_stuck(&mut talk).await;
                assert!(taken > 0 && taken < bound(version, app_version), "{taken} bytes");
                silent.push(talk);
            }
            is_served(&mut caller).await;
            is_served(&mut Caller::new(gateway.address(), Version::Http2).await).await;
            is_served(&mut Caller::new(gateway.address(), Version::Http1).await).await;
            leave.add_permits(1);
        });
    }
}

#[test]
fn a_caller_with_a_tiny_window_gets_everything_in_order() {
    for app in [Version::Http1, Version::Http2] {
        run(async {
            let app = App::start(app, |_, mut talk| async move {
                for number in 0..SIZES.len() {
                    talk.say.send(&event(number)).await;
                }
                talk.say.end().await;
                talk.hear.rest().await;
            })
            .await;
            let gateway = app.gateway();
            let mut settings = h2::client::Builder::new();
            settings.initial_window_size(1 << 10);
            let caller = Caller::with(gateway.address(), Version::Http2, &mut settings);
            let mut talk = caller.await.call("/").await;
            talk.say.end().await;
            let wanted: Vec<u8> = (0..SIZES.len()).flat_map(event).collect();
            assert!(talk.hear.rest().await == wanted);
        });
    }
}

/// Sends as much as a path says, `/down/LENGTH`, or reads what comes.
async fn store(path: String, mut talk: Talk) {
    let length = path.strip_prefix("/down/").map_or(0, |length| length.parse().unwrap());
    for _ in 0..length / PIECE.len() {
        talk.say.send(&PIECE).await;
    }
    if length == 0 {
        let read = talk.hear.skip().await;
        talk.say.send(format!("{read:020}").as_bytes()).await;
    }
    talk.say.end().await;
    talk.hear.skip().await;
}

async fn download(caller: &mut Caller, length: usize) {
    let mut talk = caller.call(&format!("/down/{length}")).await;
    talk.say.end().await;
    assert_eq!(talk.hear.skip().await, length);
}

async fn upload(caller: &mut Caller, length: usize) {
    let mut talk = caller.call("/up").await;
    for _ in 0..length / PIECE.len() {
        talk.say.send(&PIECE).await;
    }
    talk.say.end().await;
    assert_eq!(talk.hear.rest().await, format!("{length:020}").into_bytes());
}

/// Lets a body pass each way through the real binary, and asserts that it needed no more memory
/// for it than for a short one.
fn passes_in_flat_memory(length: usize) {
    for (version, app) in PAIRS {
        run(async {
            let http2 = app == Version::Http2;
            let app = App::start(app, store).await;
            let mut text = config("json", &["hello"], app.address);
            if http2 {
                let port = format!(
                    "ports = [{{ port = 80, protocol = \"h2c\", endpoints = [\"{}\"] }}]",
                    app.address
                );
                text = text.replace(&format!("endpoints = [\"{}\"]", app.address), &port);
            }
            let folder = Folder::new();
            let serve = Serve::start(&folder.write("gateway.toml", text));
            let mut caller = Caller::new(serve.address, version).await;
            let begun = peak(&serve);
            for upward in [false, true] {
                let mut sizes = vec![begun];
                for length in [4 << 20, length] {
                    if upward {
                        upload(&mut caller, length).await;
                    } else {
                        download(&mut caller, length).await;
                    }
                    sizes.push(peak(&serve));
                }
                let way = if upward { "up" } else { "down" };
                let kib: Vec<_> = sizes.iter().map(|size| size >> 10).collect();
                eprintln!("{version:?}, h2c {http2}, {} MiB {way}: {kib:?} KiB", length >> 20);
                assert!(sizes[1].saturating_sub(begun) <= FIRST + SLACK, "{way}: {kib:?} KiB");
                assert!(sizes[2].saturating_sub(sizes[1]) <= SLACK, "{way}: {kib:?} KiB");
            }
            drop(caller);
            serve.finish();
        });
    }
}

#[test]
fn bodies_pass_in_flat_memory() {
    passes_in_flat_memory(32 << 20);
}

#[test]
#[ignore = "5 GiB each way for each pair: run it by name in a release build"]
fn five_gib_pass_in_flat_memory_over_http_2() {
    passes_in_flat_memory(5 << 30);
}
