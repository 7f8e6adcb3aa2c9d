use proptest::prelude::*;

use super::*;

fn leaf(key: &str, cmp: &str, val: &str) -> FilterNode {
    FilterNode { key: key.into(), cmp: cmp.into(), val: val.into(), ..FilterNode::default() }
}

fn listed(key: &str, cmp: &str, vals: &[&str]) -> FilterNode {
    FilterNode { vals: vals.iter().map(|&val| val.to_owned()).collect(), ..leaf(key, cmp, "") }
}

fn node(op: &str, nodes: Vec<FilterNode>) -> FilterNode {
    FilterNode { op: op.into(), nodes, ..FilterNode::default() }
}

fn passes(node: &FilterNode, tags: &[(&str, &str)]) -> bool {
    let tags: Vec<_> = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Filter::of(node).unwrap().passes(&tags)
}

#[test]
fn each_comparison_means_what_it_says_and_a_missing_tag_too() {
    for (cmp, value, [same, other, missing]) in [
        ("eq", "de", [true, false, false]),
        ("neq", "de", [false, true, true]),
        ("sw", "d", [true, false, false]),
        ("ew", "e", [true, false, false]),
        ("ct", "de", [true, false, false]),
    ] {
        let filter = leaf("lang", cmp, value);
        assert_eq!(passes(&filter, &[("lang", "de")]), same, "{cmp}");
        assert_eq!(passes(&filter, &[("lang", "fr")]), other, "{cmp}");
        assert_eq!(passes(&filter, &[("x", "de")]), missing, "{cmp}");
    }
    for (cmp, expected) in [("in", [true, false, false]), ("nin", [false, true, true])] {
        let filter = listed("lang", cmp, &["en", "de"]);
        let found = [&[("lang", "de")][..], &[("lang", "fr")], &[]].map(|tags| passes(&filter, tags));
        assert_eq!(found, expected, "{cmp}");
    }
    assert!(passes(&listed("lang", "in", &["", "de"]), &[]));
    assert!(passes(&leaf("lang", "ex", ""), &[("lang", "")]) && !passes(&leaf("lang", "ex", ""), &[]));
    assert!(!passes(&leaf("lang", "nex", ""), &[("lang", "")]) && passes(&leaf("lang", "nex", ""), &[]));
    assert!(passes(&leaf("lang", "eq", "de"), &[("lang", "fr"), ("lang", "de")]), "the last counts");
}

#[test]
fn numbers_are_compared_as_numbers_and_what_is_none_is_never_in_order() {
    for (value, cmp, number, expected) in [
        ("10", "gt", "9", true),
        ("10", "gt", "10.0", false),
        ("10", "gte", "010.00", true),
        ("-2", "lt", "-1.5", true),
        ("-0", "gte", "0", true),
        ("0.1", "lt", "0.11", true),
        ("12345678901234567890.1", "gt", "12345678901234567890.09", true),
        ("abc", "lt", "5", false),
        ("5", "gt", "abc", false),
        ("1e3", "gt", "5", false),
        ("5.", "gt", "1", false),
        (".5", "gt", "0", false),
        ("", "lte", "0", false),
        ("1.00000000000000000000", "gte", "1", false),
    ] {
        assert_eq!(passes(&leaf("n", cmp, number), &[("n", value)]), expected, "{value} {cmp} {number}");
    }
}

#[test]
fn nodes_combine() {
    let filter = node(
        "and",
        vec![
            node("or", vec![leaf("lang", "eq", "de"), leaf("lang", "eq", "fr")]),
            node("not", vec![leaf("draft", "ex", "")]),
        ],
    );
    assert!(passes(&filter, &[("lang", "fr")]));
    assert!(!passes(&filter, &[("lang", "fr"), ("draft", "1")]));
    assert!(!passes(&filter, &[("lang", "en")]));
}

#[test]
fn what_is_not_well_formed_is_refused_with_its_reason() {
    let eq = || leaf("a", "eq", "1");
    let deep = (0..DEPTH).fold(eq(), |inner, _| node("not", vec![inner]));
    let both = FilterNode { val: "x".into(), ..listed("a", "in", &["y"]) };
    for (filter, error) in [
        (node("xor", vec![eq()]), FilterError::UnknownOp),
        (leaf("a", "", "1"), FilterError::UnknownComparison),
        (leaf("a", "EQ", "1"), FilterError::UnknownComparison),
        (leaf("", "eq", "1"), FilterError::NoKey),
        (leaf("a", "gt", ""), FilterError::WantsVal),
        (FilterNode { vals: vec!["1".into()], ..eq() }, FilterError::WantsVal),
        (listed("a", "nin", &[]), FilterError::WantsVals),
        (both, FilterError::WantsVals),
        (leaf("a", "ex", "1"), FilterError::WantsNone),
        (node("and", Vec::new()), FilterError::NoNodes),
        (node("not", vec![eq(), eq()]), FilterError::NotOneNode),
        (node("not", Vec::new()), FilterError::NotOneNode),
        (deep, FilterError::TooDeep),
        (node("or", vec![eq(); NODES]), FilterError::TooMany),
        (leaf("a", "eq", &"x".repeat(BYTES)), FilterError::TooLarge),
        (listed("a", "in", &["x".repeat(BYTES).as_str()]), FilterError::TooLarge),
    ] {
        assert_eq!(Filter::of(&filter), Err(error));
    }
    assert!(Filter::of(&leaf("", "ex", "")).is_ok());
}

#[test]
fn sixteen_kibibytes_of_short_values_took_two_hundred_of_memory() {
    let values: Vec<_> = (0..8_100).map(|n| format!("{}{}", (b'a' + (n % 26) as u8) as char, n % 10)).collect();
    let listed = |values: &[String]| FilterNode { vals: values.to_vec(), ..leaf("k", "in", "") };
    assert_eq!(Filter::of(&listed(&values)), Err(FilterError::TooLarge));
    assert!(Filter::of(&listed(&values[..400])).is_ok());
}

proptest! {
    #[test]
    fn numbers_are_ordered_as_the_machine_orders_them(a in -999_999_i64..999_999, b in -999_999_i64..999_999) {
        let text = |n: i64| format!("{}{}.{:03}", if n < 0 { "-" } else { "" }, n.abs() / 1000, n.abs() % 1000);
        let tags = [("n", &*text(a))];
        prop_assert_eq!(passes(&leaf("n", "lt", &text(b)), &tags), a < b);
        prop_assert_eq!(passes(&leaf("n", "gte", &text(b)), &tags), a >= b);
    }

    #[test]
    fn equal_filters_have_equal_hashes_and_any_order_of_vals_is_equal(mut vals in prop::collection::vec("[a-c]{1,2}", 1..5)) {
        let of = |vals: &[String]| Filter::of(&FilterNode { vals: vals.to_vec(), ..leaf("k", "in", "") }).unwrap();
        let one = of(&vals);
        vals.reverse();
        prop_assert_eq!(&one, &of(&vals));
        prop_assert_eq!(one.hash(), of(&vals).hash());
    }
}
