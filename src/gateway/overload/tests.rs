//! Several workers' counts side by side, without the workers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::config::Config;
use crate::ids::Domain;

fn crew(count: usize) -> Vec<Rc<Load>> {
    let cells: Vec<Arc<WorkerLoad>> = (0..count).map(|_| Arc::default()).collect();
    let others = |index: usize| {
        let others = cells.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, cell)| cell.clone()).collect()
    };
    let load =
        |(index, own): (usize, &Arc<WorkerLoad>)| Load::new(index, own.clone(), others(index));
    cells.iter().enumerate().map(load).collect()
}

fn limited_to(in_flight: usize) -> (Shared, Settings) {
    let mut config = Config::new(Domain::default());
    config.limits.in_flight = in_flight;
    (Shared::new(&config), Settings::of(&config))
}

#[test]
fn whichever_worker_takes_them_there_are_never_more_than_the_limit() {
    let (shared, settings) = limited_to(10);
    let crew = crew(4);
    // All on one worker; then on each in turn.
    for turn in [|_: usize| 0, |number: usize| number % 4] {
        let mut taken = Vec::new();
        for number in 0..100 {
            taken.extend(
                crew[turn(number)].admit(&shared, &settings, Instant::now()).ok().flatten(),
            );
        }
        assert_eq!(taken.len(), 10);
        taken.truncate(7);
        let more = crew[3].admit(&shared, &settings, Instant::now()).expect("room again");
        assert_eq!(crew.iter().map(|load| load.own.in_flight()).sum::<u64>(), 8);
        drop((taken, more));
        for load in &crew {
            load.probe(Instant::now(), Duration::ZERO);
        }
    }
    let refused: u64 = crew.iter().flat_map(|load| load.own.sheds()).map(|(_, count)| count).sum();
    assert_eq!(refused, 180);
}

#[test]
fn without_a_limit_nothing_is_counted_and_nothing_refused() {
    let (shared, settings) = limited_to(0);
    let load = Load::alone();
    assert!((0..1000).all(|_| {
        load.admit(&shared, &settings, Instant::now()).is_ok_and(|taken| taken.is_none())
    }));
    assert_eq!(load.own.in_flight(), 0);
    assert!(!load.is_over(&shared));
}

#[test]
fn what_waited_too_long_is_refused_and_nothing_else() {
    let (shared, settings) = limited_to(0);
    let (load, now, target) = (Load::alone(), Instant::now(), Duration::from_millis(50));
    load.measured(2 * target, target);
    load.probe(now, target);
    assert!(load.is_over(&shared));
    assert!(load.admit(&shared, &settings, now + target).is_ok());
    let refused = load.admit(&shared, &settings, now + 2 * target).expect_err("late");
    assert_eq!(refused.reason(), "overloaded_lag");
    load.measured(target / 4, target);
    assert!(load.admit(&shared, &settings, now + 2 * target).is_ok() && !load.is_over(&shared));
}

#[test]
fn while_memory_is_short_everything_is_refused() {
    let (shared, settings) = limited_to(5);
    let load = Load::alone();
    shared.memory.measure(2, 1);
    let refused = load.admit(&shared, &settings, Instant::now()).expect_err("no memory");
    assert_eq!(refused.reason(), "overloaded_memory");
    shared.memory.measure(0, 1);
    assert!(load.admit(&shared, &settings, Instant::now()).is_ok());
}
