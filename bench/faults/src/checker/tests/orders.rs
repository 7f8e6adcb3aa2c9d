//! Orders of a backend.

use super::*;
use crate::journal::ORDERED;

fn order(history: &mut History) {
    history.add(Entry::OrderBegan { user: "ada".to_owned() }).add(Entry::OrderAcked { user: "ada".to_owned() });
}

fn obey(history: &mut History) {
    history.add(Entry::Disconnected { client: "ada".to_owned(), code: ORDERED, reason: String::new() });
}

#[test]
fn an_order_may_not_be_heard_in_trouble() {
    let mut history = History::of(ROOM);
    order(history.phase(Phase::Faults));
    history.phase(Phase::Healed);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn an_order_that_is_not_heard_while_all_is_well_is_found() {
    let mut history = History::of(ROOM);
    order(history.phase(Phase::Healed));
    assert_eq!(history.judged().kinds(), [Verdict::Unheard]);
}

#[test]
fn an_order_that_is_carried_out_is_good_also_before_it_is_acknowledged() {
    let mut history = History::of(ROOM);
    order(history.phase(Phase::Healed));
    obey(&mut history);
    history.add(Entry::OrderBegan { user: "ada".to_owned() });
    obey(&mut history);
    history.add(Entry::OrderAcked { user: "ada".to_owned() });
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn an_order_that_is_carried_out_twice_or_by_another_is_found() {
    let mut history = History::of(ROOM);
    order(&mut history);
    obey(&mut history);
    assert_eq!(history.judged().kinds(), []);
    obey(&mut history);
    assert_eq!(history.judged().kinds(), [Verdict::Phantom]);
}
