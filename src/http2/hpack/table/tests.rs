#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn entries(table: &Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entry = |age| table.entry(age).expect("within the table");
    (0..table.len()).map(entry).map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

#[test]
fn the_static_table_is_that_of_the_rfc_at_both_ends() {
    let table = Table::new(0);
    assert_eq!(table.get(1), Ok((&b":authority"[..], &b""[..])));
    assert_eq!(table.get(16), Ok((&b"accept-encoding"[..], &b"gzip, deflate"[..])));
    assert_eq!(table.get(61), Ok((&b"www-authenticate"[..], &b""[..])));
}

#[test]
fn no_index_outside_the_tables_is_found() {
    let mut table = Table::new(100);
    table.insert(b"a", b"b");
    assert_eq!(table.get(62), Ok((&b"a"[..], &b"b"[..])));
    for index in [0, 63, 1 << 28, usize::MAX] {
        assert_eq!(table.get(index), Err(HpackError), "{index}");
    }
}

#[test]
fn the_oldest_leave_for_the_newest_and_only_as_many_as_must() {
    let mut table = Table::new(3 * (32 + 2));
    for name in [b"a", b"b", b"c", b"d"] {
        table.insert(name, b"1");
    }
    let names: Vec<_> = entries(&table).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [b"d", b"c", b"b"]);
    table.resize(2 * (32 + 2));
    assert_eq!(table.len(), 2);
    assert_eq!(table.entry(1), Some((&b"c"[..], &b"1"[..])));
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut table = Table::new(50);
    table.insert(b"a", b"1");
    table.insert(b"name", b"a value of 15 b");
    assert_eq!(table.len(), 0);
    table.insert(b"name", b"of 14 bytes it");
    assert_eq!(table.len(), 1);
}

#[test]
fn a_table_has_no_memory_before_its_first_entry_and_none_once_it_may_hold_none() {
    let mut table = Table::new(4096);
    assert_eq!((table.text.capacity(), table.entries.capacity()), (0, 0));
    table.insert(b"a", b"1");
    assert!(table.text.capacity() <= SMALLEST);
    table.resize(0);
    assert_eq!((table.text.capacity(), table.entries.capacity()), (0, 0));
}

#[test]
fn a_full_table_allocates_nothing_more() {
    let mut table = Table::new(4096);
    let value = [b'v'; 300];
    let mut fill = |rounds: usize| {
        for round in 0..rounds {
            table.insert(b"name", &value[..round * 37 % 300]);
        }
        (table.text.capacity(), table.entries.capacity())
    };
    let after_some = fill(500);
    assert!(after_some.0 <= 8192, "{after_some:?}");
    assert_eq!(fill(5000), after_some);
}

proptest! {
    #[test]
    fn a_table_is_the_list_that_the_rfc_describes(
        steps in prop::collection::vec(
            prop_oneof![
                8 => (0..600_usize, 0..900_usize).prop_map(Ok),
                1 => (0..2000_usize).prop_map(Err),
            ],
            0..200,
        ),
    ) {
        let mut table = Table::new(1500);
        let (mut wanted, mut max) = (Vec::<(Vec<u8>, Vec<u8>)>::new(), 1500);
        for (at, step) in (0..=255).cycle().zip(steps) {
            match step {
                Ok((name, value)) => {
                    let (name, value) = (vec![at; name], vec![!at; value]);
                    table.insert(&name, &value);
                    wanted.insert(0, (name, value));
                }
                Err(size) => {
                    table.resize(size);
                    max = size;
                }
            }
            let mut size = 0;
            let fits = wanted.iter().take_while(|(name, value)| {
                size += name.len() + value.len() + 32;
                size <= max
            });
            let fits = fits.count();
            wanted.truncate(fits);
            prop_assert_eq!(&entries(&table), &wanted);
            prop_assert!(table.text.capacity() <= 8192);
        }
    }
}
