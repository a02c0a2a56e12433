//! The budget on a clock that the test moves, and what is safe to send again.

use tokio::time::advance;

use super::*;
use crate::error::Error;

fn taken(budget: &Budget, requests: u64, settings: &Retries, wanted: usize) -> usize {
    (0..wanted).filter(|_| budget.take(requests, settings)).count()
}

#[tokio::test(start_paused = true)]
async fn a_host_without_traffic_may_retry_a_few_times() {
    let (budget, settings) = (Budget::default(), Retries::default());
    assert_eq!(taken(&budget, 0, &settings, 100), 30, "what ten seconds bring");
    assert_eq!(budget.counts(), (30, 70));
    advance(Duration::from_secs(1)).await;
    assert_eq!(taken(&budget, 0, &settings, 100), 3);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(taken(&budget, 0, &settings, 100), 30, "an hour is no more than ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_fifth_of_the_recent_requests_may_be_tried_again() {
    let (budget, settings) =
        (Budget::default(), Retries { min_per_second: 0, ..Retries::default() });
    assert_eq!(taken(&budget, 4, &settings, 100), 0);
    assert_eq!(taken(&budget, 1004, &settings, 1000), 200);
    assert_eq!(taken(&budget, 1004, &settings, 1000), 0);
    let mut requests = 1004;
    let mut retries = 0;
    for _ in 0..100 {
        advance(Duration::from_millis(100)).await;
        requests += 50;
        retries += taken(&budget, requests, &settings, 50);
    }
    assert!((950..=1000).contains(&retries), "of 5000: {retries}");
}

#[tokio::test(start_paused = true)]
async fn requests_of_long_ago_bring_no_retries() {
    let (budget, settings) =
        (Budget::default(), Retries { min_per_second: 0, ..Retries::default() });
    advance(Duration::from_secs(990)).await;
    // A request each millisecond, of which ten thousand are recent.
    assert_eq!(taken(&budget, 1_000_000, &settings, 100_000), 2000);
    assert_eq!(taken(&budget, 1_010_000, &settings, 1), 1);
    advance(WINDOW).await;
    assert_eq!(taken(&budget, 1_010_000, &settings, 1), 0, "what was left has faded");
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_nothing_gives_nothing() {
    let settings = Retries { max: 2, budget_percent: 0, min_per_second: 0 };
    assert!(!Budget::default().take(1_000_000, &settings));
}

#[test]
fn only_what_cannot_be_noticed_twice_is_sent_again() {
    let failure =
        |unsent, stale| Failure { error: Error::AppClosed(None), unsent, stale, fault: None };
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert!(is_safe(&failure(false, true), &method), "{method}");
    }
    assert!(is_safe(&failure(false, true), &Method::from_bytes(b"QUERY").expect("a token")));
    for method in [Method::POST, Method::PATCH] {
        assert!(!is_safe(&failure(false, true), &method), "{method}");
        assert!(is_safe(&failure(true, false), &method), "{method}");
    }
    assert!(!is_safe(&failure(false, false), &Method::GET));
}
