//! One second, read off the counters: of all requests together, and of each app.
//!
//! An app that had no request since the last reading, and has none now, costs a
//! few loads: 100,000 idle apps must not keep a core busy.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::admin::Admin;
use crate::admin::apps::{Load, by_app, sorted};
use crate::gateway::Shared;
use crate::ids::AppId;
use crate::telemetry::latency::{self, BUCKETS};
use crate::telemetry::metrics::{self, RouteMetrics};
use crate::upstream::app::{Endpoint, Route};

/// All requests of one second: an array of numbers, as `/events` documents them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Point(u64, f64, f64, f64, Millis, Millis, Millis, u64, u64, usize);

/// Milliseconds, where there is something to measure.
type Millis = Option<f64>;

/// One app in one second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    app: AppId,
    numbers: Numbers,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Numbers {
    rate: f64,
    failures: f64,
    mean: Millis,
    /// The bound of the bucket that holds it, in milliseconds; -1: above every bound.
    p99: Millis,
    in_flight: u64,
    waiting: u64,
    ready: usize,
    endpoints: usize,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Numbers { rate, failures, mean, p99, in_flight, waiting, ready, endpoints } =
            self.numbers;
        let (organization, name) = (self.app.organization.as_str(), self.app.name.as_str());
        (organization, name, rate, failures, mean, p99, in_flight, waiting, ready, endpoints)
            .serialize(serializer)
    }
}

/// What a second brought.
pub(super) struct Second {
    pub(super) point: Point,
    /// How many apps there are.
    pub(super) apps: usize,
    /// Those whose numbers are others than were told last.
    pub(super) changed: Vec<Row>,
    /// Those that have something to do, the busiest first.
    pub(super) busy: Vec<Row>,
}

/// The readings before.
#[derive(Default)]
pub(super) struct Sampler {
    at: Option<Instant>,
    apps: HashMap<AppId, Seen>,
    unknown: Counts,
    latency: Option<Box<[u64; BUCKETS]>>,
    round: u64,
}

#[derive(Default)]
struct Seen {
    begun: u64,
    counts: Option<Box<Counts>>,
    told: Numbers,
    round: u64,
}

/// What is counted of an app, ever.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    ended: u64,
    failures: u64,
    refusals: u64,
    nanos: u64,
    buckets: [u64; metrics::SECONDS.len() + 1],
}

/// How many apps there are.
pub(super) fn apps(shared: &Shared) -> usize {
    by_app(&sorted(shared)).count()
}

impl Sampler {
    /// Reads everything; `None` the first time. Of the apps that changed at most so many are told,
    /// the others next time.
    pub(super) fn sample(&mut self, admin: &Admin, most: usize) -> Option<Second> {
        let now = Instant::now();
        let seconds = self.at.replace(now).map(|before| (now - before).as_secs_f64());
        self.round += 1;
        let routes = sorted(&admin.shared);
        let (mut all, mut apps, mut rows) = (Sum::default(), 0, Vec::new());
        for app in by_app(&routes) {
            apps += 1;
            let Some(id) = app.first().map(|route| &route.app) else { continue };
            if !self.apps.contains_key(id) {
                self.apps.insert(id.clone(), Seen::default());
            }
            let Some(seen) = self.apps.get_mut(id) else { continue };
            seen.round = self.round;
            let numbers = seen.read(app, seconds, &mut all);
            if numbers != seen.told || !numbers.is_idle() {
                rows.push((Row { app: id.clone(), numbers }, numbers != seen.told));
            }
        }
        let round = self.round;
        self.apps.retain(|_, seen| seen.round == round);
        let unknown = Counts::of(std::iter::once(&admin.shared.unknown));
        all.add(&unknown.since(&self.unknown));
        self.unknown = unknown;
        let latency = self.latency(admin);

        rows.sort_by(|(a, _), (b, _)| b.numbers.rate.total_cmp(&a.numbers.rate));
        let changed = rows.iter().filter(|(_, changed)| *changed).take(most);
        let changed: Vec<_> = changed.map(|(row, _)| row.clone()).collect();
        for row in &changed {
            if let Some(seen) = self.apps.get_mut(&row.app) {
                seen.told = row.numbers;
            }
        }
        let busy = rows.into_iter().map(|(row, _)| row).filter(|row| !row.numbers.is_idle());
        let seconds = seconds?.max(0.001);
        let percentile = |share| latency::percentile(&latency, share).map(millis);
        let point = Point(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            per_second(all.ended, seconds),
            per_second(all.failures, seconds),
            per_second(all.refusals, seconds),
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            all.in_flight,
            all.waiting,
            admin.crew.open(),
        );
        Some(Second { point, apps, changed, busy: busy.collect() })
    }

    /// What all workers counted since the last reading.
    fn latency(&mut self, admin: &Admin) -> [u64; BUCKETS] {
        let mut now = [0; BUCKETS];
        admin.crew.metrics().for_each(|worker| worker.load.latency.add_to(&mut now));
        let before = self.latency.replace(Box::new(now));
        let before = before.map_or(now, |before| *before);
        std::array::from_fn(|at| {
            let of = |counts: &[u64; BUCKETS]| counts.get(at).copied().unwrap_or(0);
            of(&now).saturating_sub(of(&before))
        })
    }
}

/// All apps together.
#[derive(Default)]
struct Sum {
    ended: u64,
    failures: u64,
    refusals: u64,
    in_flight: u64,
    waiting: u64,
}

impl Sum {
    fn add(&mut self, counts: &Counts) {
        self.ended += counts.ended;
        self.failures += counts.failures;
        self.refusals += counts.refusals;
    }
}

impl Seen {
    fn read(&mut self, app: &[Arc<Route>], seconds: Option<f64>, all: &mut Sum) -> Numbers {
        let endpoints = || app.iter().flat_map(|route| &route.endpoints);
        let mut numbers = Numbers {
            ready: endpoints().filter(|endpoint| is_sound(endpoint)).count(),
            endpoints: endpoints().count(),
            ..Numbers::default()
        };
        let metrics = || app.iter().map(|route| &route.shared.metrics);
        let begun = metrics().map(RouteMetrics::begun).sum();
        let load = Load::of(app);
        (numbers.in_flight, numbers.waiting) = (load.in_flight, load.waiting);
        all.in_flight += load.in_flight;
        all.waiting += load.waiting;
        // One that ended since has begun since, or was under way, as it was told.
        let quiet = begun == self.begun && load.in_flight + load.waiting == 0;
        if quiet && self.told.in_flight + self.told.waiting == 0 {
            return numbers;
        }
        self.begun = begun;
        let counts = Counts::of(metrics());
        let before = self.counts.replace(Box::new(counts)).map(|before| *before);
        let Some(seconds) = seconds else { return numbers };
        // One that was not read yet had no request until now.
        let new = counts.since(&before.unwrap_or_default());
        all.add(&new);
        numbers.rate = per_second(new.ended, seconds);
        numbers.failures = per_second(new.failures, seconds);
        if let Some(mean) = new.nanos.checked_div(new.ended) {
            numbers.mean = Some(millis(std::time::Duration::from_nanos(mean)));
            numbers.p99 = new.p99();
        }
        numbers
    }
}

fn is_sound(endpoint: &Endpoint) -> bool {
    endpoint.is_ready_to_stay() && endpoint.outlier().ejected().is_none()
}

impl Numbers {
    fn is_idle(&self) -> bool {
        self.rate == 0.0 && self.in_flight + self.waiting == 0
    }
}

impl Counts {
    fn of<'a>(ports: impl Iterator<Item = &'a RouteMetrics>) -> Self {
        let mut all = Self::default();
        for metrics in ports {
            for (_, class, count) in metrics.requests() {
                all.ended += count;
                match class {
                    "5xx" | "none" => all.failures += count,
                    "4xx" => all.refusals += count,
                    _ => {}
                }
            }
            let durations = metrics.durations();
            for (sum, count) in all.buckets.iter_mut().zip(durations.buckets) {
                *sum += count;
            }
            all.nanos += durations.sum;
        }
        all
    }

    /// Counters of an app that was away begin at zero again.
    fn since(&self, before: &Self) -> Self {
        let buckets = std::array::from_fn(|at| {
            let of = |counts: &Self| counts.buckets.get(at).copied().unwrap_or(0);
            of(self).saturating_sub(of(before))
        });
        Self {
            ended: self.ended.saturating_sub(before.ended),
            failures: self.failures.saturating_sub(before.failures),
            refusals: self.refusals.saturating_sub(before.refusals),
            nanos: self.nanos.saturating_sub(before.nanos),
            buckets,
        }
    }

    fn p99(&self) -> Millis {
        let all: u64 = self.buckets.iter().sum();
        let mut below = 0;
        let found = self.buckets.iter().position(|count| {
            below += count;
            below > 0 && below * 100 >= all * 99
        });
        let bound = |bucket: usize| metrics::SECONDS.get(bucket).map_or(-1.0, |bound| bound * 1e3);
        found.map(bound)
    }
}

/// To a tenth.
#[expect(clippy::cast_precision_loss, reason = "no rate has 52 bits")]
fn per_second(count: u64, seconds: f64) -> f64 {
    (count as f64 / seconds * 10.0).round() / 10.0
}

/// To a microsecond.
fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
