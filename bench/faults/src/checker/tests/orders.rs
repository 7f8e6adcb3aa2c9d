//! Orders of a backend.

use super::*;
use crate::journal::{ORDERED, Order, PUT_OUT};

const LOUNGE: &str = "lounge:c0";

fn begin(history: &mut History, order: Order) {
    history.add(Entry::OrderBegan { user: "ada".to_owned(), order });
}

fn acknowledge(history: &mut History, order: Order) {
    history.add(Entry::OrderAcked { user: "ada".to_owned(), order });
}

fn order(history: &mut History) {
    begin(history, Order::Disconnect);
    acknowledge(history, Order::Disconnect);
}

fn leave_lounge(history: &mut History) {
    let (client, channel) = ("ada".to_owned(), LOUNGE.to_owned());
    history.add(Entry::Unsubscribed { client, channel, code: PUT_OUT, reason: String::new() });
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
    order(history.phase(Phase::Faults));
    order(history.phase(Phase::Healed));
    obey(&mut history);
    begin(&mut history, Order::Disconnect);
    obey(&mut history);
    acknowledge(&mut history, Order::Disconnect);
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

#[test]
fn who_is_ordered_out_of_a_channel_leaves_it_once_and_nobody_else_does() {
    let mut history = History::of(LOUNGE);
    begin(history.phase(Phase::Healed), Order::Unsubscribe);
    acknowledge(&mut history, Order::Unsubscribe);
    assert_eq!(history.judged().kinds(), [Verdict::Unheard]);
    leave_lounge(&mut history);
    history.subscribe("ada", LOUNGE, None, 0);
    assert_eq!(history.judged().kinds(), []);
    leave_lounge(&mut history);
    assert_eq!(history.judged().kinds(), [Verdict::Phantom], "once more than was ordered");
}

#[test]
fn who_goes_away_meanwhile_need_not_be_put_out() {
    let mut history = History::of(LOUNGE);
    begin(history.phase(Phase::Healed), Order::Unsubscribe);
    acknowledge(&mut history, Order::Unsubscribe);
    history.disconnect("ada");
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn who_is_away_when_it_is_ordered_need_not_be_sent_away() {
    for away in [true, false] {
        let mut history = History::of(ROOM);
        history.phase(Phase::Healed).disconnect("ada");
        if !away {
            history.connect("ada", ROOM);
        }
        order(&mut history);
        history.connect("ada", ROOM);
        assert_eq!(history.judged().kinds(), if away { vec![] } else { vec![Verdict::Unheard] });
    }
}

#[test]
fn a_node_that_hears_an_order_late_may_send_away_who_came_back_to_it() {
    for (node, found) in [("two", vec![]), ("one", vec![Verdict::Phantom])] {
        let mut history = History::of(ROOM);
        history.connect("ada", ROOM);
        order(&mut history);
        obey(&mut history);
        let uuid = "another".to_owned();
        history.add(Entry::Connected { client: "ada".to_owned(), node: node.to_owned(), uuid });
        obey(&mut history);
        assert_eq!(history.judged().kinds(), found, "by {node}");
    }
}
