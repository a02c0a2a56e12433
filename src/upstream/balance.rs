//! Which endpoint gets the next request: the less loaded of two chosen at
//! random among the ready ones.
//!
//! Two random choices keep the load almost as even as asking all, without
//! every worker running to the same least loaded endpoint at once.

use std::sync::Arc;

use rand::Rng;

use super::app::Endpoint;

/// A ready endpoint that is not in `tried`, if there is one; one that is ejected or
/// refuses only if there is no other, and one that drains only if there are none of these.
pub fn choose(
    endpoints: &[Arc<Endpoint>],
    tried: &[u64],
    random: &mut impl Rng,
) -> Option<Arc<Endpoint>> {
    let usable = |endpoint: &&Arc<Endpoint>| endpoint.is_ready() && !tried.contains(&endpoint.id());
    if let [only] = endpoints {
        return Some(only).filter(usable).cloned();
    }
    let stays = |one: &&Arc<Endpoint>| one.is_ready_to_stay() && !tried.contains(&one.id());
    let good = |one: &&Arc<Endpoint>| one.is_sound() && !tried.contains(&one.id());
    // Of those that would try an ejected endpoint at once the first does, and it is avoided again.
    for _ in 0..endpoints.len() {
        let Some(chosen) = choose_among(endpoints, good, random) else { break };
        if chosen.outlier().admits() {
            return Some(chosen);
        }
    }
    choose_among(endpoints, stays, random).or_else(|| choose_among(endpoints, usable, random))
}

fn choose_among(
    endpoints: &[Arc<Endpoint>],
    usable: impl Fn(&&Arc<Endpoint>) -> bool,
    random: &mut impl Rng,
) -> Option<Arc<Endpoint>> {
    let count = endpoints.iter().filter(&usable).count();
    let nth = |index: usize| endpoints.iter().filter(&usable).nth(index);
    match count {
        0 => None,
        1 => nth(0).cloned(),
        _ => {
            let first = random.random_range(0..count);
            // The second is drawn from the others, so the two are never one.
            let second = (first + random.random_range(1..count)) % count;
            // Readiness may change between count and draw: then one choice is left, or none.
            match (nth(first), nth(second)) {
                (Some(one), Some(other)) => {
                    Some(if other.in_flight() < one.in_flight() { other } else { one }.clone())
                }
                (one, other) => one.or(other).cloned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::app::InFlight;
    use super::super::outlier::Fault;
    use super::*;
    use crate::config::OutlierEjection;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::collections::HashMap;

    fn endpoints(count: u16) -> Vec<Arc<Endpoint>> {
        (0..count)
            .map(|port| Arc::new(Endpoint::new(([127, 0, 0, 1], 9000 + port).into(), true)))
            .collect()
    }

    #[test]
    fn an_endpoint_that_is_not_ready_or_was_tried_is_never_chosen() {
        let mut random = SmallRng::seed_from_u64(1);
        let all = endpoints(4);
        all[1].set_ready(false);
        let tried = [all[2].id()];
        for _ in 0..1000 {
            let chosen = choose(&all, &tried, &mut random).expect("two are left");
            assert!(chosen.id() == all[0].id() || chosen.id() == all[3].id());
        }
        for endpoint in &all {
            endpoint.set_ready(false);
        }
        assert!(choose(&all, &[], &mut random).is_none());
        assert!(choose(&[], &[], &mut random).is_none());
    }

    fn eject(endpoint: &Endpoint) {
        let rules = OutlierEjection { consecutive_failures: 1, ..OutlierEjection::default() };
        let mut random = SmallRng::seed_from_u64(4);
        let time = endpoint.outlier().failed(Fault::Connect, &rules, &mut random, || Some(()));
        assert!(time.is_some());
    }

    #[test]
    fn an_ejected_endpoint_is_the_last_choice() {
        let mut random = SmallRng::seed_from_u64(3);
        let all = endpoints(3);
        eject(&all[0]);
        for _ in 0..200 {
            assert_ne!(choose(&all, &[], &mut random).expect("ready").id(), all[0].id());
        }
        let others = [all[1].id(), all[2].id()];
        assert_eq!(choose(&all, &others, &mut random).expect("ready").id(), all[0].id());
        all[0].outlier().answered(false);
        let drawn = (0..200).map(|_| choose(&all, &[], &mut random).expect("ready").id());
        assert!(drawn.into_iter().any(|id| id == all[0].id()));
    }

    #[test]
    fn an_endpoint_that_drains_gets_nothing_while_another_is_ready_ejected_or_not() {
        let mut random = SmallRng::seed_from_u64(5);
        let all = endpoints(3);
        all[0].drain();
        eject(&all[1]);
        all[2].set_ready(false);
        for _ in 0..200 {
            assert_eq!(choose(&all, &[], &mut random).expect("ready").id(), all[1].id());
        }
        let tried = [all[1].id()];
        assert_eq!(choose(&all, &tried, &mut random).expect("ready").id(), all[0].id());
        all[1].retire();
        assert_eq!(choose(&all, &[], &mut random).expect("ready").id(), all[0].id());
        assert!(choose(&all[..1], &[], &mut random).is_some(), "the only one of its app");
        all[0].stay();
        all[2].set_ready(true);
        let drawn: Vec<_> =
            (0..200).map(|_| choose(&all, &[], &mut random).expect("ready").id()).collect();
        assert!(drawn.contains(&all[0].id()) && drawn.contains(&all[2].id()));
    }

    #[test]
    fn an_endpoint_that_refused_is_avoided_only_where_a_probe_will_speak_for_it() {
        let mut random = SmallRng::seed_from_u64(6);
        let all = endpoints(2);
        all[0].refused();
        let mut drawn = || -> Vec<_> {
            (0..100).map(|_| choose(&all, &[], &mut random).expect("ready").id()).collect()
        };
        assert!(drawn().contains(&all[0].id()));
        all[0].set_probed(true);
        assert!(!drawn().contains(&all[0].id()));
        all[0].set_ready(true);
        assert!(drawn().contains(&all[0].id()));
        all[0].refused();
        all[1].set_ready(false);
        assert!(drawn().contains(&all[0].id()), "better than none");
    }

    #[test]
    fn idle_endpoints_share_evenly_and_a_busy_one_gets_less() {
        let mut random = SmallRng::seed_from_u64(2);
        let all = endpoints(4);
        let busy: Vec<_> = (0..100).map(|_| InFlight::new(all[0].clone())).collect();
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for _ in 0..3000 {
            *counts.entry(choose(&all, &[], &mut random).expect("ready").id()).or_default() += 1;
        }
        assert_eq!(counts.get(&all[0].id()), None, "always the more loaded of two");
        for endpoint in &all[1..] {
            let count = counts[&endpoint.id()];
            assert!((800..1200).contains(&count), "{counts:?}");
        }
        drop(busy);
        assert_eq!(all[0].in_flight(), 0);
    }
}
