//! The queue by itself: in paused time, then over real threads, where a lost
//! wake-up would leave somebody waiting for ever.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::atomic::AtomicU64;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::config::{OutlierEjection, Protocol};
use crate::ids::{AppId, Domain, HostName};
use crate::upstream::app::Shared;
use crate::upstream::outlier::Fault;
use crate::upstream::wait;

const READY: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds { app: 1000, all: 10_000 };
const NEW: Seeker<'_> = Seeker { standing: Standing::New, needs_slot: true, tried: &[] };

/// An app whose port 80 has some endpoints.
#[derive(Clone)]
struct App {
    turns: Arc<Turns>,
    routes: Arc<Mutex<Vec<Arc<Route>>>>,
    endpoints: Vec<Arc<Endpoint>>,
}

/// What came of the requests, in the order in which it came.
type Outcomes = mpsc::UnboundedReceiver<(usize, Result<Turn, Error>)>;

impl App {
    fn new(endpoints: u16, app: usize, endpoint: u32) -> Self {
        let turns = Arc::new(Turns::new(Arc::default()));
        turns.set_concurrency(Concurrency { app, endpoint });
        let address = |port| ([127, 0, 0, 1], 9000 + port).into();
        let endpoint = |port| Arc::new(Endpoint::of(&turns, address(port), true));
        let endpoints: Vec<_> = (0..endpoints).map(endpoint).collect();
        let routes = Arc::new(Mutex::new(Vec::new()));
        let app = Self { turns, routes, endpoints };
        app.put(80, app.endpoints.clone());
        app
    }

    fn put(&self, port: u16, endpoints: Vec<Arc<Endpoint>>) {
        let id: AppId = "acme/hello".parse().unwrap();
        let old = self.find(port);
        let route = Arc::new(Route {
            host: HostName::of_port(&id, port, &Domain::default()).unwrap(),
            function_id: id.function_id(),
            organization_id: id.organization_id(),
            app: id,
            port,
            protocol: Protocol::Http1,
            endpoints,
            shared: old.map_or_else(Arc::<Shared>::default, |old| old.shared.clone()),
            turns: self.turns.clone(),
            rate: None,
        });
        let mut routes = self.routes.lock().unwrap();
        routes.retain(|route| route.port != port);
        routes.push(route.clone());
        drop(routes);
        self.turns.rerouted(&route);
    }

    fn find(&self, port: u16) -> Option<Arc<Route>> {
        self.routes.lock().unwrap().iter().find(|route| route.port == port).cloned()
    }

    fn set_ready(&self, ready: bool) {
        self.endpoints.iter().for_each(|endpoint| endpoint.set_ready(ready));
        self.turns.serve();
    }

    fn at_once(&self) -> Option<Turn> {
        self.turns.at_once(NEW, &self.endpoints, &mut SmallRng::seed_from_u64(1))
    }

    async fn turn(&self, port: u16, seeker: Seeker<'_>, bounds: Bounds) -> Result<Turn, Error> {
        let mut route = self.find(port).ok_or(Error::UnknownHost)?;
        let mut random = SmallRng::seed_from_u64(1);
        if let Some(turn) = self.turns.at_once(seeker, &route.endpoints, &mut random) {
            return Ok(turn);
        }
        wait::for_turn(&mut route, &|| self.find(port), seeker, READY, bounds).await
    }

    /// Requests that arrive one after the other.
    async fn arrive(&self, count: usize) -> (Outcomes, Vec<AbortHandle>) {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let mut handles = Vec::new();
        for number in 0..count {
            let (app, sender) = (self.clone(), sender.clone());
            let task = async move {
                let _ = sender.send((number, app.turn(80, NEW, BOUNDS).await));
            };
            handles.push(spawn_local(task).abort_handle());
            yield_now().await;
        }
        (outcomes, handles)
    }

    fn queued(&self) -> usize {
        let route = self.find(80).unwrap();
        let queued = self.turns.queued.load(Ordering::SeqCst);
        assert_eq!(route.shared.waiting.load(Ordering::SeqCst), queued);
        assert_eq!(self.turns.waiting.load(Ordering::SeqCst), queued);
        queued
    }
}

/// One worker, in time that passes when there is nothing to do.
fn paused(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// The turns that have come by now.
async fn come(outcomes: &mut Outcomes) -> Vec<(usize, Turn)> {
    for _ in 0..10 {
        yield_now().await;
    }
    let mut turns = Vec::new();
    while let Ok((number, turn)) = outcomes.try_recv() {
        turns.push((number, turn.expect("a turn")));
    }
    turns
}

fn numbers(turns: &[(usize, Turn)]) -> Vec<usize> {
    turns.iter().map(|(number, _)| *number).collect()
}

#[test]
fn turns_come_in_order_of_arrival_and_nobody_overtakes() {
    paused(async {
        let app = App::new(1, 2, 0);
        let (mut outcomes, _) = app.arrive(6).await;
        let mut held = come(&mut outcomes).await;
        assert_eq!((numbers(&held), app.queued()), (vec![0, 1], 4));
        for next in 2..6 {
            drop(held.remove(0));
            assert!(app.at_once().is_none(), "a newcomer took what was freed for another");
            let came = come(&mut outcomes).await;
            assert_eq!(numbers(&came), [next]);
            held.extend(came);
        }
        assert_eq!(app.queued(), 0);
        assert!(app.at_once().is_none(), "the limit is reached");
        drop(held);
        assert_eq!(app.turns.busy.load(Ordering::SeqCst), 0);
        assert!(app.at_once().is_some());
    });
}

#[test]
fn who_leaves_frees_its_place_and_the_turn_that_it_did_not_take() {
    paused(async {
        let app = App::new(1, 1, 0);
        let (mut outcomes, handles) = app.arrive(5).await;
        let first = come(&mut outcomes).await;
        handles[2].abort();
        yield_now().await;
        assert_eq!(app.queued(), 3);
        // Given to the second, which leaves before it can run.
        drop(first);
        handles[1].abort();
        let came = come(&mut outcomes).await;
        assert_eq!((numbers(&came), app.queued()), (vec![3], 1));
        drop(came);
        assert_eq!(numbers(&come(&mut outcomes).await), [4]);
    });
}

#[test]
fn the_queue_is_bounded_for_the_app_and_for_all() {
    paused(async {
        for bounds in [Bounds { app: 2, all: 9 }, Bounds { app: 9, all: 2 }] {
            let app = App::new(1, 1, 0);
            let (mut outcomes, _) = app.arrive(3).await;
            assert_eq!(app.queued(), 2);
            let refused = app.turn(80, NEW, bounds).await;
            assert!(matches!(refused, Err(Error::QueueFull)), "{refused:?}");
            assert_eq!(app.queued(), 2);
            let retry = Seeker { standing: Standing::Retry, ..NEW };
            let retry = timeout(Duration::from_secs(1), app.turn(80, retry, bounds)).await;
            assert!(retry.is_err(), "what was let in once is not refused");
            drop(come(&mut outcomes).await);
        }
    });
}

#[test]
fn a_queue_without_places_refuses_nobody_who_need_not_wait() {
    paused(async {
        let app = App::new(1, 1, 0);
        let bounds = Bounds { app: 0, all: 0 };
        let route = app.find(80).unwrap();
        let find = || app.find(80);
        // As if the slot had been freed between the first look and the queue.
        let mut place = app.turns.queue_up(NEW, &find, bounds).expect("a turn is free");
        assert_eq!(app.queued(), 0);
        let (turn, by) = place.turn().await.unwrap();
        assert!(Arc::ptr_eq(&by, &route));
        assert!(app.turns.queue_up(NEW, &find, bounds).is_err());
        drop((turn, place));
        assert!(app.turns.queue_up(NEW, &find, bounds).is_ok());
        assert!(app.at_once().is_some(), "a place that was dropped unheard gave its turn back");
    });
}

#[test]
fn a_higher_limit_is_used_at_once_and_a_lower_one_lets_finish() {
    paused(async {
        let app = App::new(2, 1, 0);
        let set = |app_limit, endpoint| {
            app.turns.set_concurrency(Concurrency { app: app_limit, endpoint });
        };
        let (mut outcomes, _) = app.arrive(12).await;
        let mut held = come(&mut outcomes).await;
        set(4, 0);
        held.extend(come(&mut outcomes).await);
        assert_eq!(numbers(&held), [0, 1, 2, 3]);
        set(2, 0);
        for left in [3, 2] {
            held.remove(0);
            assert!(come(&mut outcomes).await.is_empty(), "{left} run");
        }
        held.remove(0);
        held.extend(come(&mut outcomes).await);
        assert_eq!(numbers(&held), [3, 4]);
        set(0, 2);
        held.extend(come(&mut outcomes).await);
        assert_eq!(numbers(&held), [3, 4, 5, 6]);
        set(0, 0);
        held.extend(come(&mut outcomes).await);
        assert_eq!((held.len(), app.queued()), (9, 0));
    });
}

#[test]
fn endpoints_are_filled_to_their_limit_and_never_beyond() {
    paused(async {
        let app = App::new(3, 0, 2);
        let (mut outcomes, _) = app.arrive(9).await;
        let mut held = come(&mut outcomes).await;
        let full = || app.endpoints.iter().all(|endpoint| endpoint.in_flight() == 2);
        assert!(full() && app.queued() == 3);
        for _ in 0..3 {
            let (_, turn) = held.pop().unwrap();
            let freed = turn.endpoint.endpoint().clone();
            drop(turn);
            let came = come(&mut outcomes).await;
            assert!(Arc::ptr_eq(came[0].1.endpoint.endpoint(), &freed) && full());
            held.splice(0..0, came);
        }
    });
}

#[test]
fn a_busy_endpoint_is_waited_for_rather_than_an_ejected_one() {
    paused(async {
        let app = App::new(2, 0, 1);
        let rules = OutlierEjection { consecutive_failures: 1, ..OutlierEjection::default() };
        let mut random = SmallRng::seed_from_u64(1);
        app.endpoints[0]
            .outlier()
            .failed(Fault::Connect, &rules, &mut random, || Some(()))
            .unwrap();
        let (mut outcomes, _) = app.arrive(2).await;
        let came = come(&mut outcomes).await;
        assert_eq!(came[0].1.endpoint.endpoint().id(), app.endpoints[1].id());
        assert_eq!((came.len(), app.queued()), (1, 1));
    });
}

#[test]
fn who_waits_for_a_busy_endpoint_gets_an_ejected_one_when_its_time_has_passed() {
    paused(async {
        let app = App::new(2, 0, 1);
        let rules = OutlierEjection {
            consecutive_failures: 1,
            base_time: Duration::from_secs(5),
            ..OutlierEjection::default()
        };
        let mut random = SmallRng::seed_from_u64(1);
        let time = app.endpoints[0]
            .outlier()
            .failed(Fault::Connect, &rules, &mut random, || Some(()))
            .unwrap();
        let start = Instant::now();
        let (mut outcomes, _handles) = app.arrive(3).await;
        let (_, _busy) = outcomes.recv().await.unwrap();
        let (number, tries) = outcomes.recv().await.unwrap();
        assert_eq!((number, tries.unwrap().endpoint.endpoint().id()), (1, app.endpoints[0].id()));
        // Ejections are counted in whole milliseconds.
        let took = start.elapsed() + Duration::from_millis(1);
        assert!((time..time + Duration::from_secs(1)).contains(&took), "{took:?}, {time:?}");
        assert_eq!(app.queued(), 1, "one request tries it");
    });
}

#[test]
fn who_was_refused_gets_the_endpoint_again_that_accepts_connections_and_no_other_that_failed_it() {
    paused(async {
        let app = App::new(3, 0, 1);
        let [one, other, failed] = &app.endpoints[..] else { panic!("three") };
        for endpoint in &app.endpoints {
            endpoint.set_probed(true);
        }
        one.refused();
        let busy = InFlight::new(other.clone());
        let tried = [(one, true), (failed, false)]
            .map(|(endpoint, refused)| Tried { id: endpoint.id(), refused });
        let turn = spawn_local({
            let app = app.clone();
            async move {
                let standing = Standing::Retry;
                app.turn(80, Seeker { standing, tried: &tried, ..NEW }, BOUNDS).await
            }
        });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(app.queued(), 1);
        one.accepted();
        let turn = turn.await.unwrap().unwrap();
        assert_eq!(turn.endpoint.endpoint().id(), one.id());
        drop(busy);
    });
}

#[test]
fn a_port_without_endpoints_does_not_hold_up_the_others() {
    paused(async {
        let app = App::new(1, 1, 0);
        app.put(81, Vec::new());
        let held = app.at_once().unwrap();
        let cold = spawn_local({
            let app = app.clone();
            async move { app.turn(81, NEW, BOUNDS).await }
        });
        yield_now().await;
        let (mut outcomes, _) = app.arrive(1).await;
        drop(held);
        assert_eq!(come(&mut outcomes).await.len(), 1, "the slot waits for no endpoint");
        app.put(81, app.endpoints.clone());
        assert!(cold.await.unwrap().is_ok());
    });
}

#[test]
fn who_goes_back_has_the_place_and_the_time_that_it_had() {
    paused(async {
        let app = App::new(1, 1, 0);
        app.set_ready(false);
        let (mut outcomes, _handles) = app.arrive(3).await;
        sleep(Duration::from_secs(2)).await;
        app.set_ready(true);
        let (number, turn) = come(&mut outcomes).await.pop().unwrap();
        assert_eq!(number, 0);
        // Nobody was there: it gives its turn up.
        app.set_ready(false);
        let ticket = turn.ticket;
        drop(turn);
        let (sender, mut back) = mpsc::unbounded_channel();
        let back_with = [ticket, None, None, None];
        for (name, ticket) in back_with.into_iter().enumerate() {
            let standing = Standing::Back(ticket);
            let (app, sender) = (app.clone(), sender.clone());
            let bounds = Bounds { app: 5, all: 10 };
            spawn_local(async move {
                let turn = app.turn(80, Seeker { standing, ..NEW }, bounds).await;
                let _ = sender.send((name, turn.is_ok()));
            });
            yield_now().await;
        }
        assert_eq!(app.turns.oldest_wait(), Some(Duration::from_secs(2)));
        assert_eq!(app.queued(), 5);
        assert_eq!(back.recv().await, Some((3, false)), "the bound is for who was not in line");
        app.set_ready(true);
        assert_eq!(numbers(&come(&mut outcomes).await), [1]);
        let mut order = || back.try_recv().unwrap();
        assert_eq!([order(), order()], [(1, true), (2, true)], "they came before all who wait");
        assert_eq!(order(), (0, true));
    });
}

#[test]
fn a_retry_goes_first_and_not_where_it_failed() {
    paused(async {
        let app = App::new(2, 0, 1);
        let (mut outcomes, _) = app.arrive(4).await;
        let mut held = come(&mut outcomes).await;
        let failed = app.endpoints[0].id();
        let retry = spawn_local({
            let app = app.clone();
            async move {
                let tried = [Tried { id: failed, refused: false }];
                let seeker = Seeker { standing: Standing::Retry, needs_slot: true, tried: &tried };
                app.turn(80, seeker, BOUNDS).await
            }
        });
        yield_now().await;
        assert_eq!(app.queued(), 3);
        held.retain(|(_, turn)| turn.endpoint.endpoint().id() != failed);
        assert!(come(&mut outcomes).await.is_empty(), "what failed one is not tried by the next");
        held.clear();
        let turn = retry.await.unwrap().unwrap();
        assert_eq!(turn.endpoint.endpoint().id(), app.endpoints[1].id());
        assert_eq!(numbers(&come(&mut outcomes).await), [2]);
    });
}

#[test]
fn an_app_that_begins_gets_few_at_first_and_twice_as_many_with_each_round_of_answers() {
    paused(async {
        let app = App::new(1, 0, 0);
        app.set_ready(false);
        let (mut outcomes, _) = app.arrive(500).await;
        assert_eq!(app.queued(), 500);
        app.set_ready(true);
        assert!(app.at_once().is_none(), "a newcomer goes behind those who wait");
        let (start, mut served, mut rounds) = (Instant::now(), Vec::new(), Vec::new());
        while served.len() < 500 {
            let round = come(&mut outcomes).await;
            served.extend(numbers(&round));
            rounds.push(round.len());
            // One answer after the other.
            round.into_iter().for_each(drop);
        }
        assert_eq!(rounds, [16, 32, 64, 128, 256, 4]);
        assert_eq!(served, (0..500).collect::<Vec<_>>());
        assert!(start.elapsed().is_zero(), "no time was lost");
    });
}

#[test]
fn requests_that_are_answered_late_hold_nobody_up_for_long() {
    paused(async {
        let app = App::new(1, 0, 0);
        app.set_ready(false);
        let (mut outcomes, handles) = app.arrive(500).await;
        app.set_ready(true);
        let start = Instant::now();
        let mut held = come(&mut outcomes).await;
        assert_eq!(held.len(), 16);
        // Whoever keeps the pace may leave.
        handles[16..20].iter().for_each(AbortHandle::abort);
        while held.len() < 496 {
            let (number, turn) = outcomes.recv().await.unwrap();
            held.push((number, turn.unwrap()));
        }
        assert!(start.elapsed() <= Duration::from_millis(300), "{:?}", start.elapsed());
        assert!(held.is_sorted_by_key(|(number, _)| *number));
        assert_eq!(app.queued(), 0);
        // The next that begins is fresh again.
        app.set_ready(false);
        held.clear();
        let (mut outcomes, _) = app.arrive(100).await;
        app.set_ready(true);
        assert_eq!(come(&mut outcomes).await.len(), 16);
    });
}

#[test]
fn an_app_that_goes_leaves_nobody_waiting() {
    paused(async {
        let app = App::new(0, 0, 0);
        let (mut outcomes, _) = app.arrive(3).await;
        app.routes.lock().unwrap().clear();
        app.turns.gone(80);
        for _ in 0..3 {
            assert!(matches!(outcomes.recv().await, Some((_, Err(Error::UnknownHost)))));
        }
        assert_eq!(app.turns.queued.load(Ordering::SeqCst), 0);
        assert!(app.turns.lock().next(&[]).is_none());
    });
}

#[test]
fn who_waits_in_vain_learns_for_what() {
    paused(async {
        let app = App::new(1, 1, 0);
        let held = app.at_once();
        let start = Instant::now();
        assert!(matches!(app.turn(80, NEW, BOUNDS).await, Err(Error::ConcurrencyTimeout)));
        assert_eq!(start.elapsed(), READY);
        app.set_ready(false);
        assert!(matches!(app.turn(80, NEW, BOUNDS).await, Err(Error::NoReadyEndpoint)));
        assert_eq!(app.queued(), 0);
        drop(held);
    });
}

#[test]
fn the_oldest_wait_is_that_of_the_first_in_line() {
    paused(async {
        let app = App::new(1, 1, 0);
        assert_eq!(app.turns.oldest_wait(), None);
        let held = app.at_once();
        let (mut outcomes, _) = app.arrive(1).await;
        sleep(Duration::from_secs(3)).await;
        let (_later, _) = app.arrive(1).await;
        assert_eq!(app.turns.oldest_wait(), Some(Duration::from_secs(3)));
        sleep(Duration::from_secs(1)).await;
        drop(held);
        let came = come(&mut outcomes).await;
        assert_eq!((came.len(), app.turns.oldest_wait()), (1, Some(Duration::from_secs(1))));
    });
}

/// What the requests of a storm do to the app.
#[derive(Default)]
struct Storm {
    now: AtomicUsize,
    peak: AtomicUsize,
    peak_at_one: AtomicU64,
    served: AtomicUsize,
}

impl Storm {
    async fn request(self: Arc<Self>, app: App, number: u32) {
        // Some callers leave; who stays must be served.
        let patience = if number.is_multiple_of(7) { Duration::from_micros(50) } else { READY };
        let Ok(turn) = timeout(patience, app.turn(80, NEW, BOUNDS)).await else {
            assert!(number.is_multiple_of(7), "a wake-up was lost");
            return;
        };
        let turn = turn.expect("the queue is long enough");
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        let at_one = u64::from(turn.endpoint.endpoint().in_flight());
        self.peak_at_one.fetch_max(at_one, Ordering::SeqCst);
        if number.is_multiple_of(3) {
            yield_now().await;
        } else if number.is_multiple_of(5) {
            sleep(Duration::from_micros(100)).await;
        }
        self.served.fetch_add(1, Ordering::SeqCst);
        self.now.fetch_sub(1, Ordering::SeqCst);
        drop(turn);
    }
}

#[test]
fn no_limit_is_passed_and_no_wake_up_lost_over_many_threads() {
    for (app_limit, endpoint_limit, most) in [(5, 0, 5), (0, 2, 6), (4, 2, 4), (7, 2, 6)] {
        let app = App::new(3, app_limit, endpoint_limit);
        let storm = Arc::new(Storm::default());
        let worker = |_| {
            let (app, storm) = (app.clone(), storm.clone());
            std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                LocalSet::new().block_on(&runtime, async move {
                    for _ in 0..20 {
                        let requests = (0..100)
                            .map(|number| spawn_local(storm.clone().request(app.clone(), number)));
                        for request in requests.collect::<Vec<_>>() {
                            request.await.unwrap();
                        }
                    }
                });
            })
        };
        let workers: Vec<_> = (0..4).map(worker).collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(storm.served.load(Ordering::SeqCst) >= 4 * 20 * 85);
        assert_eq!(storm.peak.load(Ordering::SeqCst), most, "never more, and all of it");
        if endpoint_limit > 0 {
            assert_eq!(storm.peak_at_one.load(Ordering::SeqCst), u64::from(endpoint_limit));
        }
        assert_eq!((app.queued(), app.turns.busy.load(Ordering::SeqCst)), (0, 0));
        assert!(app.endpoints.iter().all(|endpoint| endpoint.in_flight() == 0));
    }
}
