use super::*;
use crate::telemetry::finished::Finished;
use crate::telemetry::metrics::tests::finished;

fn domain() -> Domain {
    "x.test".parse().unwrap()
}

fn app(id: &str, ports: &[(u16, &[&str])]) -> AppSpec {
    AppSpec {
        id: id.parse().unwrap(),
        ports: ports
            .iter()
            .map(|(port, endpoints)| PortSpec {
                port: *port,
                endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
                draining: Vec::new(),
                protocol: Protocol::Http1,
            })
            .collect(),
        concurrency: Concurrency::default(),
        rate_limit: None,
        ready: true,
    }
}

fn find(table: &RouteTable, host: &str) -> Option<Arc<Route>> {
    table.hosts.get(host).map(|entry| entry.value().clone())
}

#[test]
fn an_apps_ports_share_its_bucket_which_stays_until_its_rate_is_another() {
    let table = RouteTable::new();
    let rate = RateLimit { requests: 1, per: std::time::Duration::from_secs(3600), burst: 2 };
    let ports: [(u16, &[&str]); 2] = [(80, &[]), (81, &[])];
    let with = |rate| AppSpec { rate_limit: Some(rate), ..app("acme/hello", &ports) };
    let take =
        |host| find(&table, host).unwrap().rate.as_ref().is_some_and(|rate| rate.take().is_ok());
    assert_eq!(table.register(&with(rate), &domain()), []);
    assert!(take("hello-acme.x.test") && take("hello-acme-81.x.test"));
    assert!(!take("hello-acme.x.test") && !take("hello-acme-81.x.test"));

    let moved = AppSpec {
        concurrency: Concurrency { app: 7, endpoint: 0 },
        ..app("acme/hello", &[(80, &["10.0.0.1:80"]), (82, &[])])
    };
    table.register(&AppSpec { rate_limit: Some(rate), ..moved }, &domain());
    assert!(!take("hello-acme.x.test") && !take("hello-acme-82.x.test"), "the rate is the same");
    table.register(&with(RateLimit { burst: 1, ..rate }), &domain());
    assert!(take("hello-acme.x.test") && !take("hello-acme-81.x.test"));
    table.register(&app("acme/hello", &ports), &domain());
    assert!(find(&table, "hello-acme.x.test").unwrap().rate.is_none());
}

#[test]
fn an_apps_ports_share_what_it_may_have_under_way_however_they_change() {
    const WORKERS: usize = 2;
    let table = RouteTable::new();
    let take = |host: &str, worker: usize| {
        let route = find(&table, host).unwrap();
        route.shared.metrics.begin_within(worker, 3)
            || route.turns.hosts.claim(&route.shared, worker, WORKERS, 3)
    };
    let (first, second, third) =
        ("hello-acme.x.test", "hello-acme-81.x.test", "hello-acme-82.x.test");
    table.register(&app("acme/hello", &[(80, &[]), (81, &[])]), &domain());
    table.register(&app("acme/other", &[(80, &[])]), &domain());
    assert!(take(first, 0) && take(second, 1));
    // What is under way at a port that is no more goes on counting.
    let under_way = find(&table, second).unwrap();
    table.register(&app("acme/hello", &[(80, &[]), (82, &[])]), &domain());
    assert!(take(third, 1));
    assert!(!take(first, 0) && !take(first, 1) && !take(third, 0));
    assert!((0..3).all(|number| take("other-acme.x.test", number % WORKERS)));
    under_way.shared.metrics.end(1, &Finished { counted: true, ..finished() });
    assert!(take(first, 1) && !take(third, 1));
}

#[test]
fn each_port_gets_its_host() {
    let table = RouteTable::new();
    let refused = table.register(&app("o-r/a-b", &[(80, &[]), (8080, &[])]), &domain());
    assert_eq!(refused, []);
    assert_eq!(find(&table, "a-b-o-r.x.test").unwrap().port, 80);
    assert_eq!(find(&table, "a-b-o-r-8080.x.test").unwrap().port, 8080);
    assert!(find(&table, "a-b-o-r-80.x.test").is_none());
}

#[test]
fn a_host_stays_with_the_first_app_and_the_error_names_both() {
    let table = RouteTable::new();
    table.register(&app("c-d/b", &[(80, &[])]), &domain());
    let refused = table.register(&app("d/b-c", &[(80, &[]), (81, &[])]), &domain());
    assert_eq!(refused.len(), 1);
    let text = refused[0].to_string();
    for part in ["d/b-c", "c-d/b", "b-c-d.x.test"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(find(&table, "b-c-d.x.test").unwrap().app.to_string(), "c-d/b");
    assert_eq!(find(&table, "b-c-d-81.x.test").unwrap().app.to_string(), "d/b-c");

    // The port suffix collides with an organization that ends like one.
    table.register(&app("acme/a", &[(8080, &[])]), &domain());
    let refused = table.register(&app("acme-8080/a", &[(80, &[])]), &domain());
    assert_eq!(refused.len(), 1, "{refused:?}");
}

#[test]
fn a_change_keeps_what_stays() {
    let table = RouteTable::new();
    table.register(&app("o/a", &[(80, &["127.0.0.1:1", "127.0.0.1:2"]), (81, &[])]), &domain());
    let old = find(&table, "a-o.x.test").unwrap();
    table.register(&app("o/a", &[(80, &["127.0.0.1:2", "127.0.0.1:3"])]), &domain());
    let new = find(&table, "a-o.x.test").unwrap();
    assert!(Arc::ptr_eq(&old.shared, &new.shared));
    assert_eq!(old.endpoints[1].id(), new.endpoints[0].id());
    assert!(old.endpoints[0].is_retired());
    assert!(!old.endpoints[1].is_retired());
    assert!(find(&table, "a-o-81.x.test").is_none());

    table.remove(&new.app);
    assert!(find(&table, "a-o.x.test").is_none());
    assert!(new.endpoints.iter().all(|endpoint| endpoint.is_retired()));
}

#[test]
fn another_apps_routes_are_not_touched() {
    let table = RouteTable::new();
    table.register(&app("o/a", &[(80, &["127.0.0.1:1"])]), &domain());
    table.register(&app("o/b", &[(80, &["127.0.0.1:1"])]), &domain());
    let before = find(&table, "a-o.x.test").unwrap();
    table.register(&app("o/b", &[(80, &["127.0.0.1:2"])]), &domain());
    table.remove(&"o/b".parse().unwrap());
    assert!(Arc::ptr_eq(&before, &find(&table, "a-o.x.test").unwrap()));
    assert!(!before.endpoints[0].is_retired());
    let other = find(&table, "b-o.x.test");
    assert!(other.is_none());
}

#[test]
fn ports_of_one_app_share_its_limit_and_other_apps_do_not() {
    let table = RouteTable::new();
    let mut spec = app("o/a", &[(80, &[]), (81, &[])]);
    spec.concurrency.app = 3;
    table.register(&spec, &domain());
    let (one, two) = (find(&table, "a-o.x.test").unwrap(), find(&table, "a-o-81.x.test").unwrap());
    assert!(Arc::ptr_eq(&one.turns, &two.turns));
    assert_eq!(one.turns.concurrency(), spec.concurrency);
    table.register(&app("o/b", &[(80, &[])]), &domain());
    let other = find(&table, "b-o.x.test").unwrap();
    assert_eq!(other.turns.concurrency(), Concurrency::default());
}

#[test]
fn a_changed_limit_is_another_of_the_same_turns() {
    let table = RouteTable::new();
    let mut spec = app("o/a", &[(80, &["127.0.0.1:1"])]);
    table.register(&spec, &domain());
    let before = find(&table, "a-o.x.test").unwrap();
    spec.concurrency = Concurrency { app: 4, endpoint: 2 };
    spec.ports = app("o/a", &[(80, &[]), (81, &[])]).ports;
    table.register(&spec, &domain());
    let after = find(&table, "a-o-81.x.test").unwrap();
    assert!(Arc::ptr_eq(&before.turns, &after.turns), "who waits stays in line");
    assert_eq!(before.turns.concurrency(), spec.concurrency);
}

#[test]
fn a_hundred_thousand_apps_are_registered_one_by_one_in_no_time_each() {
    let table = RouteTable::new();
    for number in 0..100_000 {
        table.register(&app(&format!("o/a{number}"), &[(80, &[])]), &domain());
    }
    assert_eq!(table.routes().len(), 100_000);
    table.retain(|route| route.app.name.as_str() == "a7");
    assert_eq!(table.routes().len(), 1);
    assert_eq!(table.owned.len(), 1);
}
