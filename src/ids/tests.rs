use super::*;
use proptest::prelude::*;

fn app(text: &str) -> AppId {
    text.parse().expect("a valid app in a test")
}

fn domain() -> Domain {
    "ignite.dodil.cloud".parse().expect("a valid domain")
}

#[test]
fn port_80_has_no_suffix_and_every_other_port_has_one() {
    let app = app("acme-corp/my-data-processor");
    let host = |port| HostName::of_port(&app, port, &domain()).expect("fits").to_string();
    assert_eq!(host(80), "my-data-processor-acme-corp.ignite.dodil.cloud");
    assert_eq!(host(8080), "my-data-processor-acme-corp-8080.ignite.dodil.cloud");
}

#[test]
fn a_label_of_63_characters_fits_and_one_of_64_is_refused_with_its_text() {
    let long = |length: usize| app(&format!("org/{}", "a".repeat(length - "-org".len())));
    assert!(HostName::of_port(&long(63), 80, &domain()).is_ok());
    let error = HostName::of_port(&long(64), 80, &domain()).expect_err("64 is too long");
    let label = format!("{}-org", "a".repeat(60));
    assert_eq!(error, NameError::LongLabel { label: label.clone(), length: 64 });
    assert!(error.to_string().contains(&label), "{error}");
}

#[test]
fn labels_are_dns_1123() {
    for good in ["a", "0", "a-b", "a--b", "0a", &"x".repeat(63)] {
        assert!(good.parse::<Label>().is_ok(), "{good}");
    }
    for bad in ["", "-", "a-", "-a", "A", "a_b", "a.b", "ä", "a b", "a\n", &"x".repeat(64)] {
        assert!(bad.parse::<Label>().is_err(), "{bad}");
    }
}

#[test]
fn execution_ids_are_lower_case_version_7_and_distinct_in_order_of_time() {
    let mut ids = ExecutionIds::new();
    let minted: Vec<_> = (0..1000).map(|_| ids.mint()).collect();
    let mut seen = std::collections::HashSet::new();
    let mut last = 0;
    for id in &minted {
        let parsed = uuid::Uuid::parse_str(id.as_str()).expect("a UUID");
        assert_eq!(parsed.get_version_num(), 7);
        assert_eq!(parsed.hyphenated().to_string(), id.as_str());
        assert!(seen.insert(id.as_str().to_owned()));
        let millis = parsed.as_u128() >> 80;
        assert!(millis >= last, "time runs forward");
        last = millis;
    }
}

proptest! {
    #[test]
    fn a_host_is_the_exact_join_of_its_parts(
        organization in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
        name in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
        port in 1u16..,
    ) {
        let app = app(&format!("{organization}/{name}"));
        let host = HostName::of_port(&app, port, &domain()).expect("short enough");
        let suffix = if port == 80 { String::new() } else { format!("-{port}") };
        prop_assert_eq!(host.as_str(), format!("{name}-{organization}{suffix}.ignite.dodil.cloud"));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC*") {
        let _ = text.parse::<Label>();
        let _ = text.parse::<AppId>();
        let _ = text.parse::<Domain>();
    }
}
