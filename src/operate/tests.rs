use std::time::Duration;

use tokio::time::Instant;

use super::advice::{Advice, Advisor, Recommendation};
use super::drain::{DrainError, Orders};
use super::load::{self, Saturation};
use crate::cluster::{Entry, Load, Member, State, Work};
use crate::settings::Scaling;

const SECOND: Duration = Duration::from_secs(1);

fn options() -> Scaling {
    Scaling {
        up_connections: 0.8,
        up_cpu: 0.5,
        down_below: 0.5,
        up_after: SECOND * 60,
        down_after: SECOND * 600,
        min_nodes: 2,
        max_nodes: 10,
        webhook: None,
    }
}

fn member(clients: u64, capacity: Option<u64>, cpu: f64, processors: usize) -> Member {
    let entry = Entry {
        name: "a".to_owned(),
        incarnation: 1,
        process: "p".to_owned(),
        address: String::new(),
        version: String::new(),
        capacity,
        joined_at: 0,
        state: State::Up,
        debts: Vec::new(),
    };
    let work = Work { clients, ..Work::default() };
    let load = Load { work, cpu, processors, ..Load::default() };
    Member { entry, load: Some(load), ready: true, silent_for: Some(Duration::ZERO) }
}

fn used(connections: f64, processors: f64) -> Saturation {
    Saturation { connections, processors }
}

/// What is advised to `nodes` that have been used so for `held`.
fn after(held: Duration, nodes: usize, saturation: Saturation) -> Advice {
    let mut advisor = Advisor::new(options());
    let begun = Instant::now();
    advisor.weigh(begun, nodes, saturation);
    advisor.weigh(begun + held, nodes, saturation)
}

#[test]
fn the_fuller_of_connections_and_processors_is_a_nodes_load() {
    assert_eq!(load::of(&member(50, Some(100), 20.0, 2)), 0.5);
    assert_eq!(load::of(&member(5, Some(100), 150.0, 2)), 0.75);
    assert_eq!(load::of(&member(5000, None, 150.0, 2)), 0.75, "whoever takes any number is never full");
    let both = Saturation::of(&[member(50, Some(100), 100.0, 2), member(30, Some(100), 0.0, 2)]);
    assert_eq!(both, used(0.4, 0.25));
    let unequal = [member(10, Some(100), 0.0, 1), member(900, Some(1000), 300.0, 3), member(7, None, 0.0, 1)];
    assert_eq!(Saturation::of(&unequal), used(910.0 / 1100.0, 0.6), "of what they have together");
}

#[test]
fn more_nodes_are_advised_as_many_as_bring_it_below_the_threshold() {
    assert_eq!(after(SECOND * 60, 3, used(0.9, 0.1)), Advice { action: Recommendation::ScaleUp, nodes: 4 });
    assert_eq!(after(SECOND * 60, 3, used(0.1, 1.0)), Advice { action: Recommendation::ScaleUp, nodes: 6 });
    assert_eq!(after(SECOND * 60, 9, used(1.0, 1.0)), Advice { action: Recommendation::ScaleUp, nodes: 10 });
}

#[test]
fn one_node_fewer_is_advised_where_the_others_would_do_well() {
    // Two would be used 0.3 of 0.8 each.
    assert_eq!(after(SECOND * 600, 3, used(0.2, 0.0)), Advice { action: Recommendation::ScaleDown, nodes: 2 });
    // Two would be used 0.45 of 0.8 each, which is more than half of it.
    assert_eq!(after(SECOND * 600, 3, used(0.3, 0.0)), Advice { action: Recommendation::Maintain, nodes: 3 });
    assert_eq!(after(SECOND * 600, 2, used(0.0, 0.0)), Advice { action: Recommendation::Maintain, nodes: 2 });
}

#[test]
fn fewer_nodes_than_there_should_be_are_too_few_whatever_they_do() {
    assert_eq!(after(SECOND * 60, 1, used(0.0, 0.0)), Advice { action: Recommendation::ScaleUp, nodes: 2 });
}

#[test]
fn a_moment_is_not_enough_and_the_time_begins_anew_when_it_is_over() {
    let maintain = Advice { action: Recommendation::Maintain, nodes: 3 };
    assert_eq!(after(SECOND * 59, 3, used(0.9, 0.0)), maintain);
    let mut advisor = Advisor::new(options());
    let begun = Instant::now();
    advisor.weigh(begun, 3, used(0.9, 0.0));
    advisor.weigh(begun + SECOND * 40, 3, used(0.5, 0.0));
    advisor.weigh(begun + SECOND * 50, 3, used(0.9, 0.0));
    assert_eq!(advisor.weigh(begun + SECOND * 90, 3, used(0.9, 0.0)), maintain);
    assert_eq!(advisor.weigh(begun + SECOND * 110, 3, used(0.9, 0.0)).action, Recommendation::ScaleUp);
}

#[test]
fn nothing_is_advised_where_nobody_serves_and_what_was_seen_before_does_not_count() {
    let maintain = Advice { action: Recommendation::Maintain, nodes: 3 };
    let mut advisor = Advisor::new(options());
    let begun = Instant::now();
    advisor.weigh(begun, 3, used(0.9, 0.0));
    assert_eq!(advisor.rest(3), maintain);
    assert_eq!(advisor.weigh(begun + SECOND * 60, 3, used(0.9, 0.0)), maintain);
    assert_eq!(advisor.weigh(begun + SECOND * 120, 3, used(0.9, 0.0)).action, Recommendation::ScaleUp);
}

#[test]
fn a_node_serves_while_it_is_up_and_ready() {
    let up = member(0, None, 0.0, 1);
    assert!(up.serves());
    assert!(!Member { ready: false, ..up.clone() }.serves());
    assert!(!Member { entry: Entry { state: State::Draining, ..up.entry.clone() }, ..up }.serves());
}

fn named(name: &str) -> Member {
    let mut member = member(0, None, 0.0, 1);
    member.entry.name = name.to_owned();
    member.entry.process = format!("process of {name}");
    member
}

#[test]
fn nobody_is_to_drain_where_nobody_would_serve_then() {
    let mut members = [named("ada"), named("bob"), named("cy")];
    let mut orders = Orders::default();
    assert_eq!(orders.add("ada", false, &members).unwrap(), "process of ada");
    assert_eq!(orders.add("ada", false, &members).unwrap(), "process of ada", "once more is the same");
    members[2].ready = false;
    match orders.add("bob", false, &members) {
        Err(DrainError::AllLeave { leaving, .. }) => assert_eq!(leaving, ["ada"]),
        other => panic!("{other:?}"),
    }
    assert!(orders.add("bob", true, &members).is_ok());
    assert!(matches!(Orders::default().add("ada", false, &members[..1]), Err(DrainError::Last(_))));
    assert!(matches!(orders.add("dan", true, &members), Err(DrainError::Unknown(_))));
}

#[test]
fn what_was_ordered_of_a_process_that_is_no_more_is_struck_out() {
    let mut members = [named("ada"), named("bob")];
    let mut orders = Orders::default();
    orders.add("ada", false, &members).unwrap();
    members[0].entry.process = "another process of ada".to_owned();
    assert!(orders.add("bob", false, &members).is_ok(), "ada serves again");
    assert!(matches!(orders.add("ada", false, &members), Err(DrainError::AllLeave { .. })));
}
