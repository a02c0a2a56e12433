//! What is shown: the difference of the last two looks, in an order, behind a
//! filter, with one row chosen. No terminal in here.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Serialize;

use super::snapshot::{App, Counts, Snapshot};

/// All that is shown, and how.
#[derive(Debug)]
pub struct State {
    before: Option<Snapshot>,
    now: Snapshot,
    lost: Option<String>,
    /// Of all apps, in order, whatever the filter.
    pub rows: Vec<Row>,
    /// Of all apps together.
    pub total: Row,
    /// By what rows are ordered.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
    /// What the apps' names hold.
    pub filter: String,
    /// What keys mean.
    pub mode: Mode,
    /// The row that is chosen, by its app.
    selected: Option<String>,
}

/// What keys mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The table of apps.
    Apps,
    /// The filter is being written.
    Filter,
    /// One app and its endpoints.
    App,
    /// The keys.
    Help,
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Yes.
    Stay,
    /// No.
    Quit,
}

/// The columns that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Organization and name.
    App,
    /// Requests a second.
    Requests,
    /// Errors a second.
    Errors,
    /// The median.
    P50,
    /// The 99th percentile.
    P99,
    /// Requests at the app.
    InFlight,
    /// Requests that wait.
    Waiting,
}

impl Sort {
    /// Each with its key.
    pub const ALL: [(char, Self); 7] = [
        ('a', Self::App),
        ('r', Self::Requests),
        ('e', Self::Errors),
        ('m', Self::P50),
        ('p', Self::P99),
        ('i', Self::InFlight),
        ('w', Self::Waiting),
    ];
}

/// One app's present.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// `organization/name`.
    pub app: String,
    /// Requests that ended, a second.
    pub requests_per_second: f64,
    /// Those of them that failed with 5xx.
    pub errors_per_second: f64,
    /// Half of them took no longer.
    pub p50_seconds: Option<f64>,
    /// All but a hundredth of them took no longer.
    pub p99_seconds: Option<f64>,
    /// Requests at the app.
    pub in_flight: u64,
    /// Requests that wait for it.
    pub waiting: u64,
    /// Endpoints that take requests.
    pub ready: usize,
    /// All of them.
    pub endpoints: usize,
}

impl Row {
    /// The share of requests that failed.
    pub fn error_share(&self) -> f64 {
        if self.requests_per_second > 0.0 {
            self.errors_per_second / self.requests_per_second
        } else {
            0.0
        }
    }
}

impl State {
    /// From a first look, which tells no rates yet.
    pub fn new(first: Snapshot) -> Self {
        let mut state = Self {
            before: None,
            now: first,
            lost: None,
            rows: Vec::new(),
            total: Row::default(),
            sort: Sort::Requests,
            reversed: false,
            filter: String::new(),
            mode: Mode::Apps,
            selected: None,
        };
        state.reckon();
        state
    }

    /// The next look.
    pub fn see(&mut self, snapshot: Snapshot) {
        self.before = Some(std::mem::replace(&mut self.now, snapshot));
        self.lost = None;
        self.reckon();
    }

    /// The gateway did not answer.
    pub fn lose(&mut self, reason: String) {
        self.lost = Some(reason);
    }

    /// Why nothing new is seen.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// The last look.
    pub fn snapshot(&self) -> &Snapshot {
        &self.now
    }

    /// Whether there are rates yet.
    pub fn has_rates(&self) -> bool {
        self.before.is_some()
    }

    /// The rows that the filter lets through.
    pub fn shown(&self) -> Vec<&Row> {
        let wanted = |row: &&Row| row.app.contains(&self.filter);
        self.rows.iter().filter(wanted).collect()
    }

    /// The row that is chosen: the first, until another is.
    pub fn selected(&self) -> usize {
        let is_it = |row: &&Row| Some(&row.app) == self.selected.as_ref();
        self.shown().iter().position(is_it).unwrap_or(0)
    }

    /// The app of the row that is chosen, unless it is gone.
    pub fn app(&self) -> Option<(&App, &Row)> {
        let name = match (&self.selected, self.shown().first()) {
            (Some(name), _) => name,
            (None, first) => &first.as_ref()?.app,
        };
        let app = self.now.apps.iter().find(|app| name_of(app) == *name)?;
        Some((app, self.rows.iter().find(|row| row.app == *name)?))
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Next::Quit;
        }
        match self.mode {
            Mode::Filter => self.write(key.code),
            Mode::Apps => return self.command(key.code),
            Mode::App | Mode::Help => match key.code {
                KeyCode::Char('q') => return Next::Quit,
                KeyCode::Esc
                | KeyCode::Backspace
                | KeyCode::Left
                | KeyCode::Enter
                | KeyCode::Char('h' | '?') => self.mode = Mode::Apps,
                KeyCode::Up | KeyCode::Char('k') => self.step(-1),
                KeyCode::Down | KeyCode::Char('j') => self.step(1),
                _ => {}
            },
        }
        Next::Stay
    }

    fn command(&mut self, key: KeyCode) -> Next {
        match key {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => {
                if let Some(name) = self.app().map(|(app, _)| name_of(app)) {
                    self.selected = Some(name);
                    self.mode = Mode::App;
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Char(key) => {
                if let Some((_, sort)) = Sort::ALL.iter().find(|(known, _)| *known == key) {
                    // The same key again turns the order round.
                    self.reversed = *sort == self.sort && !self.reversed;
                    self.sort = *sort;
                    self.order();
                }
            }
            _ => {}
        }
        Next::Stay
    }

    fn write(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter | KeyCode::Down => self.mode = Mode::Apps,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Apps;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(character) if self.filter.len() < 64 => {
                self.filter.push(character.to_ascii_lowercase());
            }
            _ => {}
        }
    }

    fn step(&mut self, by: isize) {
        let shown = self.shown();
        let last = shown.len().saturating_sub(1);
        let next = self.selected().saturating_add_signed(by).min(last);
        self.selected = shown.get(next).map(|row| row.app.clone());
    }

    /// Makes the rows of the last two looks.
    fn reckon(&mut self) {
        let seconds = self.before.as_ref().map(|before| (self.now.at - before.at).as_secs_f64());
        let mut total = Window::default();
        let mut rows: Vec<Row> = self.now.apps.iter().map(row_of).collect();
        // What no app was found for has counts, and nothing else.
        let known = |name: &&String| !rows.iter().any(|row| row.app == **name);
        let others: Vec<String> = self.now.counts.keys().filter(known).cloned().collect();
        rows.extend(others.into_iter().map(|app| Row { app, ..Row::default() }));
        for row in &mut rows {
            let Some(now) = self.now.counts.get(&row.app) else { continue };
            let Some(before) = &self.before else { continue };
            let none = Counts::default();
            let window = Window::between(before.counts.get(&row.app).unwrap_or(&none), now);
            window.tell(seconds, row);
            total.add(&window);
        }
        let sum = |of: fn(&Row) -> usize| -> usize { rows.iter().map(of).sum() };
        self.total = Row {
            in_flight: rows.iter().map(|row| row.in_flight).sum(),
            waiting: rows.iter().map(|row| row.waiting).sum(),
            ready: sum(|row| row.ready),
            endpoints: sum(|row| row.endpoints),
            ..Row::default()
        };
        total.tell(seconds, &mut self.total);
        self.rows = rows;
        self.order();
    }

    fn order(&mut self) {
        let (sort, reversed) = (self.sort, self.reversed);
        self.rows.sort_by(|left, right| {
            let number = |of: fn(&Row) -> f64| of(right).total_cmp(&of(left));
            let by = match sort {
                Sort::App => Ordering::Equal,
                Sort::Requests => number(|row| row.requests_per_second),
                Sort::Errors => number(|row| row.errors_per_second),
                Sort::P50 => number(|row| row.p50_seconds.unwrap_or(-1.0)),
                Sort::P99 => number(|row| row.p99_seconds.unwrap_or(-1.0)),
                Sort::InFlight => right.in_flight.cmp(&left.in_flight),
                Sort::Waiting => right.waiting.cmp(&left.waiting),
            };
            let by = by.then_with(|| left.app.cmp(&right.app));
            if reversed { by.reverse() } else { by }
        });
    }
}

/// `organization/name`.
pub fn name_of(app: &App) -> String {
    format!("{}/{}", app.organization, app.name)
}

fn row_of(app: &App) -> Row {
    let endpoints = || app.ports.iter().flat_map(|port| &port.endpoints);
    Row {
        app: name_of(app),
        in_flight: app.in_flight,
        waiting: app.waiting,
        ready: endpoints().filter(|endpoint| endpoint.ready && endpoint.ejected.is_none()).count(),
        endpoints: endpoints().count(),
        ..Row::default()
    }
}

/// What was counted between two looks.
#[derive(Debug, Default)]
struct Window {
    requests: f64,
    errors: f64,
    buckets: Vec<(f64, f64)>,
}

impl Window {
    fn between(before: &Counts, now: &Counts) -> Self {
        // An app that came back, or a gateway that was restarted, counts from zero.
        let anew = now.requests < before.requests;
        let less = |now: f64, before: f64| if anew { now } else { (now - before).max(0.0) };
        let buckets = now.buckets.iter().map(|(bound, count)| {
            let known = before.buckets.iter().find(|(known, _)| known.total_cmp(bound).is_eq());
            (*bound, less(*count, known.map_or(0.0, |(_, count)| *count)))
        });
        Self {
            requests: less(now.requests, before.requests),
            errors: less(now.errors, before.errors),
            buckets: buckets.collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (bound, count) in &other.buckets {
            match self.buckets.iter_mut().find(|(known, _)| known.total_cmp(bound).is_eq()) {
                Some((_, sum)) => *sum += count,
                None => self.buckets.push((*bound, *count)),
            }
        }
    }

    fn tell(&self, seconds: Option<f64>, row: &mut Row) {
        let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) else { return };
        row.requests_per_second = self.requests / seconds;
        row.errors_per_second = self.errors / seconds;
        row.p50_seconds = self.quantile(0.5);
        row.p99_seconds = self.quantile(0.99);
    }

    /// Within a bucket evenly, as Prometheus reckons; beyond the last bound, that bound.
    fn quantile(&self, quantile: f64) -> Option<f64> {
        let all = self.buckets.last()?.1;
        if all <= 0.0 {
            return None;
        }
        let rank = quantile * all;
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= rank {
                let width = if bound.is_finite() { bound - below.0 } else { 0.0 };
                let inside =
                    if *count > below.1 { (rank - below.1) / (count - below.1) } else { 0.0 };
                return Some(below.0 + width * inside);
            }
            below = (*bound, *count);
        }
        Some(below.0)
    }
}

#[cfg(test)]
mod tests;
