use std::time::Duration;

use tokio::time::Instant;

use super::state::State;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_word_that_is_acknowledged_is_waited_for_until_one_comes_back() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, begun);
    assert_eq!(state.waits(begun + SECOND * 9), None, "the store has nothing yet");
    state.acknowledged(1, begun + SECOND);
    state.speaks(2, begun + SECOND * 2);
    state.acknowledged(2, begun + SECOND * 3);
    assert_eq!(state.waits(begun + SECOND * 9), Some(SECOND * 8));
    assert_eq!(state.heard(2, begun + SECOND * 9), Some(SECOND * 7));
    assert_eq!(state.waits(begun + SECOND * 99), None);
    assert_eq!(state.heard(1, begun + SECOND * 99), None, "late, and no longer news");
}

#[test]
fn a_word_that_comes_back_before_its_acknowledgement_is_not_waited_for() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, begun);
    state.heard(1, begun);
    state.acknowledged(1, begun);
    assert_eq!(state.waits(begun + SECOND), None);
}

#[test]
fn only_the_last_words_are_timed() {
    let (mut state, begun) = (State::default(), Instant::now());
    (1..=100).for_each(|number| state.speaks(number, begun));
    assert_eq!(state.heard(1, begun), None);
    assert_eq!(state.heard(100, begun + SECOND), Some(SECOND));
}

#[test]
fn what_does_not_come_back_is_waited_for_also_when_everybody_gets_time_anew() {
    let (mut state, begun) = (State::default(), Instant::now());
    state.speaks(1, begun);
    state.forgive(begun);
    assert_eq!(state.waits(begun), None);
    state.acknowledged(1, begun);
    state.forgive(begun + SECOND * 5);
    assert_eq!(state.waits(begun + SECOND * 7), Some(SECOND * 2));
    assert!(!state.hears_itself(SECOND, begun));
    state.heard(1, begun + SECOND * 8);
    assert!(state.hears_itself(SECOND * 2, begun + SECOND * 9));
    assert!(!state.hears_itself(SECOND * 2, begun + SECOND * 10));
}

#[test]
fn a_node_that_spoke_and_is_not_heard_any_more_is_silent_until_it_is() {
    let (mut state, begun) = (State::default(), Instant::now());
    let up = [("p", "ann"), ("q", "bob")];
    assert!(state.silent_peers(&up, SECOND * 5, begun).is_empty());
    assert!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 9).is_empty(), "they may have no canary");
    state.heard_peer("p", begun + SECOND * 10);
    state.heard_peer("stranger", begun + SECOND * 10);
    assert_eq!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 15), ["ann"]);
    assert_eq!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 16), ["ann"]);
    state.forgive(begun + SECOND * 17);
    assert!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 18).is_empty());
    state.heard_peer("p", begun + SECOND * 30);
    assert!(state.silent_peers(&up, SECOND * 5, begun + SECOND * 31).is_empty());
    assert!(state.silent_peers(&[], SECOND * 5, begun + SECOND * 99).is_empty(), "gone");
}
