//! Clients that asked for less, and channels that promise less, or something of users.

use super::*;

const CHANNEL: &str = "parked:c0";
const LOUNGE: &str = "lounge:c0";

/// Judged with ada as one who asked for even ones only.
fn judged_of_evens(history: &mut History) -> Report {
    let ada = Listener { name: "ada".to_owned(), half: Some("even".to_owned()), ..Listener::default() };
    history.phase(Phase::Gone).judged_with(vec![ada])
}

#[test]
fn what_a_filter_leaves_out_is_no_loss() {
    let mut history = History::of(CHANNEL);
    for offset in 1..5 {
        history.publish(CHANNEL, offset);
    }
    history.receive("ada", CHANNEL, 2).receive("ada", CHANNEL, 4);
    assert_eq!(judged_of_evens(&mut history).kinds(), []);
}

#[test]
fn what_passes_a_filter_and_does_not_come_is_a_loss() {
    let mut history = History::of(CHANNEL);
    for offset in 1..5 {
        history.publish(CHANNEL, offset);
    }
    history.receive("ada", CHANNEL, 4);
    assert_eq!(judged_of_evens(&mut history).kinds(), [Verdict::Lost]);
}

#[test]
fn what_a_filter_should_have_left_out_is_a_phantom() {
    let mut history = History::of(CHANNEL);
    history.publish(CHANNEL, 1).receive("ada", CHANNEL, 1);
    assert_eq!(judged_of_evens(&mut history).kinds(), [Verdict::Phantom]);
}

#[test]
fn what_a_client_published_has_no_tag() {
    let mut history = History::of(CHANNEL);
    history.begin(CHANNEL, "bob-2", Via::Client).receive_id("ada", CHANNEL, "bob-2", 1);
    assert_eq!(judged_of_evens(&mut history).kinds(), [Verdict::Phantom]);
}

#[test]
fn a_parked_reader_misses_nothing_but_what_it_is_told_of() {
    let mut history = History::of(CHANNEL);
    history.publish(CHANNEL, 1).publish(CHANNEL, 2).receive("ada", CHANNEL, 2);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
    let mut history = History::of(CHANNEL);
    history.publish(CHANNEL, 1).publish(CHANNEL, 2);
    history.subscribe("ada", CHANNEL, Some((0, false)), 2);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn who_gets_only_the_newest_may_miss_some_and_gets_none_twice() {
    let channel = "latest:c0";
    let mut history = History::of(channel);
    others::wait(&mut history, 5);
    history.publish(channel, 1).publish(channel, 2).receive("ada", channel, 2);
    others::wait(&mut history, 5);
    assert_eq!(history.judged().kinds(), []);
    history.receive("ada", channel, 2);
    assert_eq!(history.judged().kinds(), [Verdict::Doubled]);
}

fn told(history: &mut History, user: &str, came: bool) {
    let (client, channel, uuid) = ("ada".to_owned(), LOUNGE.to_owned(), user.to_owned());
    history.add(if came { Entry::Joined { client, channel, uuid } } else { Entry::Left { client, channel, uuid } });
}

/// Bob comes, goes, and is back at once.
fn bob_is_back() -> History {
    let mut history = History::of(LOUNGE);
    history.connect("bob", LOUNGE);
    told(&mut history, "bob", true);
    history.disconnect("bob").connect("bob", LOUNGE);
    history
}

#[test]
fn a_user_who_is_back_in_time_is_not_told_of() {
    let mut history = bob_is_back();
    history.phase(Phase::Healed);
    others::wait(&mut history, 100);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_user_who_is_back_and_told_to_have_left_is_found() {
    let mut history = bob_is_back();
    told(&mut history, "bob", false);
    history.phase(Phase::Healed);
    others::wait(&mut history, 100);
    assert_eq!(history.judged().kinds(), [Verdict::WrongLeave]);
}

#[test]
fn a_user_comes_once() {
    let mut history = bob_is_back();
    told(&mut history, "bob", true);
    assert_eq!(history.judged().kinds(), [Verdict::WrongLeave]);
}
