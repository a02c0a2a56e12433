//! The screen: a head of two lines, the table or one app, and the keys. All of
//! it fits 80 columns by 24 lines.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};

use super::report::{count, duration, rate, share};
use super::snapshot::{App, Endpoint};
use super::state::{Mode, Row, Sort, State};
pub use super::style::Style;

const NUMBERS: [u16; 7] = [8, 7, 8, 8, 7, 7, 7];

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, state: &State, style: Style) {
    let parts = [Constraint::Length(3), Constraint::Min(3), Constraint::Length(1)];
    let [head, body, keys] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(summary(state, style)), head);
    match (state.mode, state.app()) {
        (Mode::Help, _) => frame.render_widget(Paragraph::new(help(style)), body),
        (Mode::App, Some((app, row))) => one(frame, body, app, row, style),
        (Mode::App, None) => {
            frame.render_widget(Paragraph::new("This app is not there any more."), body);
        }
        (Mode::Apps | Mode::Filter, _) => apps(frame, body, state, style),
    }
    frame.render_widget(Paragraph::new(foot(state, style)), keys);
}

fn summary(state: &State, style: Style) -> Vec<Line<'static>> {
    let (snapshot, total) = (state.snapshot(), &state.total);
    let first = vec![
        Span::styled("ignite-gateway ", style.strong()),
        Span::styled(snapshot.version.clone(), style.plain()),
        Span::raw(format!(
            "   apps {}   endpoints {}/{}   connections {}",
            snapshot.apps.len(),
            total.ready,
            total.endpoints,
            count(snapshot.connections)
        )),
    ];
    let errors = if total.errors_per_second > 0.0 { style.bad() } else { style.plain() };
    let waiting = if total.waiting > 0 { style.doubtful() } else { style.plain() };
    let second = vec![
        Span::styled(format!("{}/s", rate(state, total.requests_per_second)), style.strong()),
        Span::styled(format!("   errors {}", share(state, total)), errors),
        Span::raw(format!("   p50 {}", duration(total.p50_seconds))),
        Span::raw(format!("   p99 {}", duration(total.p99_seconds))),
        Span::raw(format!("   in flight {}", count(total.in_flight))),
        Span::styled(format!("   waiting {}", count(total.waiting)), waiting),
    ];
    let third = match state.lost() {
        Some(reason) => Line::styled(format!("No answer, trying again: {reason}"), style.bad()),
        None => Line::default(),
    };
    vec![Line::from(first), Line::from(second), third]
}

fn apps(frame: &mut Frame<'_>, area: Rect, state: &State, style: Style) {
    let shown = state.shown();
    let columns = [
        (Sort::App, "APP"),
        (Sort::Requests, "REQ/S"),
        (Sort::Errors, "ERRORS"),
        (Sort::P50, "P50"),
        (Sort::P99, "P99"),
        (Sort::InFlight, "FLIGHT"),
        (Sort::Waiting, "WAIT"),
    ];
    let title = |(sort, name): (Sort, &str)| match (sort == state.sort, state.reversed) {
        (false, _) => name.to_owned(),
        (true, false) => format!("{name}▼"),
        (true, true) => format!("{name}▲"),
    };
    let mut titles: Vec<Cell<'_>> =
        columns.into_iter().enumerate().map(|(at, column)| cell(at, title(column))).collect();
    titles.push(cell(7, "READY".to_owned()));
    let rows = shown.iter().map(|row| table_row(state, row, style));
    let widths = [Constraint::Min(16)].into_iter().chain(NUMBERS.map(Constraint::Length));
    let table = Table::new(rows, widths)
        .header(TableRow::new(titles).style(style.strong()))
        .column_spacing(1)
        .row_highlight_style(style.chosen());
    let mut position = TableState::default().with_selected(Some(state.selected()));
    frame.render_stateful_widget(table, area, &mut position);
    if shown.is_empty() {
        let text = if state.rows.is_empty() { "No apps." } else { "No app matches the filter." };
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        frame.render_widget(Paragraph::new(text), below);
    }
}

fn table_row<'a>(state: &State, row: &'a Row, style: Style) -> TableRow<'a> {
    let errors = if row.errors_per_second > 0.0 { style.bad() } else { style.plain() };
    let waiting = if row.waiting > 0 { style.doubtful() } else { style.plain() };
    let ready = match row.ready {
        0 if row.endpoints > 0 => style.bad(),
        ready if ready < row.endpoints => style.doubtful(),
        _ => style.plain(),
    };
    TableRow::new(vec![
        Cell::from(row.app.as_str()),
        cell(1, rate(state, row.requests_per_second)),
        cell(2, share(state, row)).style(errors),
        cell(3, duration(row.p50_seconds)),
        cell(4, duration(row.p99_seconds)),
        cell(5, count(row.in_flight)),
        cell(6, count(row.waiting)).style(waiting),
        cell(7, format!("{}/{}", row.ready, row.endpoints)).style(ready),
    ])
}

/// Names to the left, numbers to the right.
fn cell(column: usize, text: String) -> Cell<'static> {
    let line = Line::from(text);
    Cell::from(if column == 0 { line } else { line.right_aligned() })
}

fn one(frame: &mut Frame<'_>, area: Rect, app: &App, row: &Row, style: Style) {
    let limit = match app.concurrency {
        0 => "no limit".to_owned(),
        limit => format!("limit {limit}"),
    };
    let mut lines = vec![Line::from(vec![
        Span::styled(row.app.clone(), style.strong()),
        Span::raw(format!(
            "   in flight {} ({limit})   waiting {}   p99 {}",
            count(row.in_flight),
            count(row.waiting),
            duration(row.p99_seconds)
        )),
    ])];
    for port in &app.ports {
        lines.push(Line::styled(format!("  {} → {}", port.port, port.host), style.faint()));
    }
    let most = usize::from(area.height / 2);
    lines.truncate(most.max(2));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let [above, below] =
        Layout::vertical([Constraint::Length(height + 1), Constraint::Min(1)]).areas(area);
    frame.render_widget(Paragraph::new(lines), above);
    let each = app.ports.iter().flat_map(|port| port.endpoints.iter().map(move |one| (port, one)));
    let rows = each.map(|(port, endpoint)| {
        let (text, style) = state_of(endpoint, style);
        TableRow::new(vec![
            Cell::from(endpoint.address.as_str()),
            cell(1, port.port.to_string()),
            cell(1, count(endpoint.in_flight)),
            Cell::from(text).style(style),
        ])
    });
    let titles = vec![
        Cell::from("ENDPOINT"),
        cell(1, "PORT".to_owned()),
        cell(1, "FLIGHT".to_owned()),
        Cell::from("STATE"),
    ];
    let widths = [26, 6, 8, 34].map(Constraint::Length);
    let table = Table::new(rows, widths).header(TableRow::new(titles).style(style.strong()));
    frame.render_widget(table, below);
}

fn state_of(endpoint: &Endpoint, style: Style) -> (String, ratatui::style::Style) {
    match (&endpoint.ejected, endpoint.ready, endpoint.draining) {
        (_, false, _) => ("unready".to_owned(), style.bad()),
        (Some(ejected), ..) => {
            let text = format!("ejected: {}, {:.0} s left", ejected.reason, ejected.seconds_left);
            (text, style.bad())
        }
        (None, true, true) => ("draining".to_owned(), style.doubtful()),
        (None, true, false) => ("ready".to_owned(), style.good()),
    }
}

fn foot(state: &State, style: Style) -> Line<'static> {
    match state.mode {
        Mode::Filter => Line::styled(format!("/{}█", state.filter), style.strong()),
        Mode::Apps if !state.filter.is_empty() => {
            Line::raw(format!("filter: {}   Esc all   / change   q quit", state.filter))
        }
        Mode::Apps => {
            Line::styled("q quit  / filter  Enter app  a r e m p i w sort  ? help", style.faint())
        }
        Mode::App | Mode::Help => Line::styled("Esc back  q quit", style.faint()),
    }
}

fn help(style: Style) -> Vec<Line<'static>> {
    let keys = [
        ("q, Ctrl-C", "quit"),
        ("↑ ↓ j k, PgUp PgDn, g G", "choose an app"),
        ("Enter, Esc", "its endpoints, and back"),
        ("/", "show only apps whose name holds a text; Esc: all"),
        ("a", "sort by app"),
        ("r e", "sort by requests a second, by errors a second"),
        ("m p", "sort by median, by 99th percentile"),
        ("i w", "sort by requests in flight, by waiting ones"),
        ("", "the same key again: the other way round"),
    ];
    let line = |(key, what): (&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{key:<26}"), style.strong()), Span::raw(what)])
    };
    let mut lines: Vec<_> = keys.into_iter().map(line).collect();
    lines.push(Line::default());
    for text in [
        "REQ/S, ERRORS (5xx), P50 and P99 are of the time between the last two looks.",
        "FLIGHT: requests at the app. WAIT: requests that wait for their turn at it.",
        "READY: endpoints that take requests, of all. _unknown/_unknown: hosts of no app.",
    ] {
        lines.push(Line::raw(text));
    }
    lines
}
