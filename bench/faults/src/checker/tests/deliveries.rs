//! What a client of a channel with recovery may see.

use super::*;
use crate::checker::tests::others::wait;
use crate::plan::Fault;

const CHANNEL: &str = "kept:c0";

/// Ada has seen 1 and 2.
fn two_seen() -> History {
    let mut history = History::of(CHANNEL);
    history.publish(CHANNEL, 1).receive("ada", CHANNEL, 1).publish(CHANNEL, 2).receive("ada", CHANNEL, 2);
    history
}

#[test]
fn everything_in_order_is_good() {
    assert_eq!(two_seen().judged().kinds(), []);
}

#[test]
fn what_is_recovered_after_a_reconnect_is_good() {
    let mut history = two_seen();
    history.disconnect("ada").publish(CHANNEL, 3).publish(CHANNEL, 4).connected("ada");
    history.subscribe("ada", CHANNEL, Some((2, true)), 2);
    history.recover("ada", CHANNEL, 3).recover("ada", CHANNEL, 4).publish(CHANNEL, 5).receive("ada", CHANNEL, 5);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_reply_may_name_the_top_before_what_leads_there() {
    let mut history = two_seen();
    history.publish(CHANNEL, 3).publish(CHANNEL, 4).subscribe("ada", CHANNEL, Some((2, true)), 4);
    history.recover("ada", CHANNEL, 3).recover("ada", CHANNEL, 4);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_hole_that_a_later_one_shows_is_a_loss() {
    let mut history = two_seen();
    history.publish(CHANNEL, 3).publish(CHANNEL, 4).receive("ada", CHANNEL, 4);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
}

#[test]
fn what_is_lost_in_one_place_is_told_once_with_what_came_before_and_after_it() {
    let mut history = two_seen();
    for offset in 3..9 {
        history.publish(CHANNEL, offset);
    }
    history.receive("ada", CHANNEL, 5).disconnect("ada").connected("ada");
    history.subscribe("ada", CHANNEL, Some((5, true)), 5).recover("ada", CHANNEL, 8);
    let report = history.judged().to_string();
    assert!(report.contains("lost 4,") && report.contains("Lost: 2"), "{report}");
    assert!(report.contains("2 from kept:c0-3 (offset 3) to offset 4, before it 2 (Live) at"), "{report}");
    assert!(report.contains("2 from kept:c0-6 (offset 6) to offset 7, before it 5 (Live) at"), "{report}");
    assert!(report.contains(", after it 8 (Recovered) at"), "{report}");
}

#[test]
fn a_recovery_that_brings_less_than_it_says_is_a_loss() {
    let mut history = two_seen();
    history.disconnect("ada").publish(CHANNEL, 3).publish(CHANNEL, 4).connected("ada");
    history.subscribe("ada", CHANNEL, Some((2, true)), 2).recover("ada", CHANNEL, 4);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
}

#[test]
fn a_recovery_that_brings_nothing_of_what_it_says_is_a_loss() {
    let mut history = two_seen();
    history.disconnect("ada").publish(CHANNEL, 3).connected("ada");
    history.subscribe("ada", CHANNEL, Some((2, true)), 3);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
}

#[test]
fn a_recovery_that_ends_before_what_came_next_is_a_loss() {
    let mut history = two_seen();
    history.disconnect("ada").publish(CHANNEL, 3).connected("ada");
    history.subscribe("ada", CHANNEL, Some((2, true)), 3);
    history.publish(CHANNEL, 4).receive("ada", CHANNEL, 4);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
}

#[test]
fn a_loss_that_the_client_is_told_of_is_none() {
    let mut history = two_seen();
    roll_back(&mut history);
    history.disconnect("ada").publish(CHANNEL, 3).publish(CHANNEL, 4).connected("ada");
    history.subscribe("ada", CHANNEL, Some((2, false)), 4).publish(CHANNEL, 5).receive("ada", CHANNEL, 5);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_refused_recovery_is_needless_where_history_holds_everything_and_no_store_was_rolled_back() {
    let mut history = two_seen();
    history.subscribe("ada", CHANNEL, Some((2, false)), 2);
    assert_eq!(history.judged().kinds(), [Verdict::Needless]);
}

#[test]
fn a_recovery_of_more_than_fits_into_a_reply_may_be_refused() {
    let mut history = two_seen();
    history.disconnect("ada");
    for offset in 3..700 {
        history.publish(CHANNEL, offset);
    }
    history.connected("ada").subscribe("ada", CHANNEL, Some((2, false)), 699);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_clock_that_is_set_excuses_no_refusal() {
    let mut history = two_seen();
    history.steps.push(Step { at_ms: 0, for_ms: 1, fault: Fault::Clock { node: 0, seconds: 3_600 } });
    history.subscribe("ada", CHANNEL, Some((2, false)), 2);
    assert_eq!(history.judged().kinds(), [Verdict::Needless]);
}

#[test]
fn what_nobody_acknowledged_is_stored_all_the_same_if_another_got_it() {
    let mut history = two_seen();
    history.connect("bob", CHANNEL).begin(CHANNEL, "x", Via::Client);
    history.add(Entry::PublishUnknown { id: "x".to_owned(), why: String::new() });
    history.receive("bob", CHANNEL, 1).receive("bob", CHANNEL, 2).receive_id("bob", CHANNEL, "x", 3);
    history.publish(CHANNEL, 4).receive("bob", CHANNEL, 4).receive("ada", CHANNEL, 4);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
}

#[test]
fn what_nobody_acknowledged_need_not_come() {
    let mut history = two_seen();
    history.begin(CHANNEL, "x", Via::JetStream);
    history.add(Entry::PublishUnknown { id: "x".to_owned(), why: String::new() });
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn an_acknowledgement_of_a_stream_counts_although_it_names_no_epoch() {
    let mut history = two_seen();
    history.begin(CHANNEL, "x", Via::JetStream);
    history.add(Entry::PublishAcked { id: "x".to_owned(), offset: Some(3), epoch: None });
    history.publish(CHANNEL, 4).receive("ada", CHANNEL, 4);
    assert_eq!(history.judged().kinds(), [Verdict::Lost]);
}

#[test]
fn the_same_twice_is_doubled() {
    let mut history = two_seen();
    history.receive("ada", CHANNEL, 2);
    assert_eq!(history.judged().kinds(), [Verdict::Doubled]);
}

#[test]
fn the_same_under_another_offset_is_doubled() {
    let mut history = two_seen();
    history.receive_id("ada", CHANNEL, "kept:c0-2", 3);
    assert!(history.judged().kinds().contains(&Verdict::Doubled));
}

#[test]
fn what_a_short_history_no_longer_held_may_be_stored_twice() {
    let mut history = History::of("short:c0");
    history.publish("short:c0", 1).receive("ada", "short:c0", 1).receive_id("ada", "short:c0", "short:c0-1", 20);
    assert_eq!(history.judged().kinds(), []);
    history.receive_id("ada", "short:c0", "short:c0-1", 20);
    assert_eq!(history.judged().kinds(), [Verdict::Doubled]);
}

#[test]
fn a_late_one_is_reordered() {
    let mut history = History::of(CHANNEL);
    history.publish(CHANNEL, 1).publish(CHANNEL, 2).receive("ada", CHANNEL, 2).receive("ada", CHANNEL, 1);
    assert_eq!(history.judged().kinds(), [Verdict::Reordered]);
}

#[test]
fn a_recovery_that_goes_back_is_reordered() {
    let mut history = two_seen();
    history.subscribe("ada", CHANNEL, Some((2, true)), 1);
    assert_eq!(history.judged().kinds(), [Verdict::Reordered]);
}

#[test]
fn two_under_one_position_have_diverged() {
    let mut history = two_seen();
    history.connect("bob", CHANNEL).begin(CHANNEL, "x", Via::Client);
    history.receive("bob", CHANNEL, 1).receive_id("bob", CHANNEL, "x", 2);
    assert_eq!(history.judged().kinds(), [Verdict::Diverged]);
}

#[test]
fn a_recovery_into_another_epoch_has_diverged() {
    let mut history = two_seen();
    history.steps.push(Step { at_ms: 0, for_ms: 1, fault: Fault::RollBack });
    history.add(Entry::Subscribed {
        client: "ada".to_owned(),
        channel: CHANNEL.to_owned(),
        since: Some(position(2)),
        recovered: true,
        position: Some(Position { offset: 2, epoch: "another".to_owned() }),
    });
    assert_eq!(history.judged().kinds(), [Verdict::Diverged]);
}

/// All stores are rolled back.
fn roll_back(history: &mut History) {
    history.steps.push(Step { at_ms: 0, for_ms: 1, fault: Fault::RollBack });
    history.add(Entry::FaultBegan { index: 0, fault: String::new() }).add(Entry::FaultEnded { index: 0 });
}

/// Stores are rolled back to what was before 9, then there is another 9; ada is told of it after so many seconds.
fn rolled_back(mut history: History, told_after: usize) -> History {
    history.publish(CHANNEL, 9).receive("ada", CHANNEL, 9);
    roll_back(&mut history);
    history.begin(CHANNEL, "x", Via::Http).receive_id("ada", CHANNEL, "x", 9);
    wait(&mut history, told_after);
    history.add(Entry::Subscribed {
        client: "ada".to_owned(),
        channel: CHANNEL.to_owned(),
        since: Some(position(9)),
        recovered: false,
        position: Some(Position { offset: 10, epoch: "another".to_owned() }),
    });
    history
}

#[test]
fn a_rollback_may_be_told_when_it_is_proven() {
    assert_eq!(rolled_back(two_seen(), 5).judged().kinds(), []);
}

#[test]
fn a_rollback_that_is_told_too_late_is_found() {
    assert!(!rolled_back(two_seen(), 60).judged().is_good());
}

#[test]
fn what_is_lost_long_before_a_rollback_is_found() {
    let mut history = two_seen();
    history.publish(CHANNEL, 3).publish(CHANNEL, 4).receive("ada", CHANNEL, 4);
    wait(&mut history, 5);
    assert_eq!(rolled_back(history, 5).judged().kinds(), [Verdict::Lost]);
}

#[test]
fn what_a_stream_acknowledged_long_before_a_rollback_is_stored() {
    let mut history = two_seen();
    history.begin(CHANNEL, "y", Via::JetStream);
    history.add(Entry::PublishAcked { id: "y".to_owned(), offset: Some(3), epoch: None });
    history.publish(CHANNEL, 4).receive("ada", CHANNEL, 4);
    wait(&mut history, 5);
    assert_eq!(rolled_back(history, 5).judged().kinds(), [Verdict::Lost]);
}

#[test]
fn what_comes_twice_or_late_long_before_a_rollback_is_found() {
    for (offset, verdict) in [(4, Verdict::Doubled), (3, Verdict::Reordered)] {
        let mut history = two_seen();
        history.publish(CHANNEL, 3).publish(CHANNEL, 4).receive("ada", CHANNEL, 4).receive("ada", CHANNEL, offset);
        wait(&mut history, 5);
        let kinds = rolled_back(history, 5).judged().kinds();
        assert!(kinds.contains(&verdict), "{offset}: {kinds:?}");
    }
}

#[test]
fn a_recovery_that_is_refused_before_a_rollback_is_needless() {
    let mut history = two_seen();
    history.subscribe("ada", CHANNEL, Some((2, false)), 2);
    wait(&mut history, 5);
    assert_eq!(rolled_back(history, 5).judged().kinds(), [Verdict::Needless]);
}

#[test]
fn an_epoch_that_changes_for_no_reason_is_needless() {
    let mut history = two_seen();
    history.connected("bob").add(Entry::Subscribed {
        client: "bob".to_owned(),
        channel: "kept:c1".to_owned(),
        since: None,
        recovered: false,
        position: Some(Position { offset: 2, epoch: "another".to_owned() }),
    });
    assert_eq!(history.judged().kinds(), [Verdict::Needless]);
}

#[test]
fn what_nobody_published_is_a_phantom() {
    let mut history = two_seen();
    history.receive_id("ada", CHANNEL, "from nowhere", 3);
    assert_eq!(history.judged().kinds(), [Verdict::Phantom]);
}

#[test]
fn what_belongs_to_another_channel_is_a_phantom() {
    let mut history = two_seen();
    history.begin("kept:c1", "x", Via::Http).receive_id("ada", CHANNEL, "x", 3);
    assert_eq!(history.judged().kinds(), [Verdict::Phantom]);
}

#[test]
fn what_was_refused_is_a_phantom() {
    let mut history = two_seen();
    history.begin(CHANNEL, "x", Via::Http);
    history.add(Entry::PublishRefused { id: "x".to_owned(), why: String::new() });
    history.receive_id("ada", CHANNEL, "x", 3);
    assert_eq!(history.judged().kinds(), [Verdict::Phantom]);
}
