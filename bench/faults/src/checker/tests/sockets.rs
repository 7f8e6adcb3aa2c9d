//! What a client of Socket.IO may see: eve, in two rooms.

use super::*;
use crate::plan::{Fault, Target, Ways};

const RED: &str = "kept:c0";
const BLUE: &str = "kept:c1";

/// She has come, and has seen 1.
fn one_seen() -> History {
    let mut history = History::default();
    let channels = [RED, BLUE].map(str::to_owned).to_vec();
    history.sockets =
        vec![Listener { name: "eve".to_owned(), channels, ways: Some(Ways::Polling), ..Listener::default() }];
    history.add(Entry::NodeStarted { node: "one".to_owned(), life: 1 });
    history.connected("eve").in_rooms(false).publish(RED, 1).hears(RED, 1, "");
    history
}

impl History {
    fn in_rooms(&mut self, recovered: bool) -> &mut Self {
        for channel in [RED, BLUE] {
            let (client, channel) = ("eve".to_owned(), channel.to_owned());
            self.add(Entry::Subscribed { client, channel, since: None, recovered, position: None });
        }
        self
    }

    /// With the mark of doubt, or without.
    fn hears(&mut self, channel: &str, offset: u64, mark: &str) -> &mut Self {
        self.hears_at(channel, offset, &format!("~mpe.{offset}{mark}"))
    }

    fn hears_at(&mut self, channel: &str, offset: u64, stand: &str) -> &mut Self {
        self.add(Entry::Received {
            client: "eve".to_owned(),
            channel: channel.to_owned(),
            id: format!("{channel}-{offset}"),
            offset: Some(offset),
            how: How::Live,
            stand: Some(stand.to_owned()),
        })
    }

    fn comes_back(&mut self, stand: &str, recovered: bool) -> &mut Self {
        let stand = Some(stand.to_owned());
        self.connected("eve").add(Entry::CameBack { client: "eve".to_owned(), stand, recovered }).in_rooms(recovered)
    }

    fn counts(&mut self, returns: &[(&str, f64)]) -> &mut Self {
        self.scrape(Phase::Healed, 0, returns)
    }

    /// What was found, once everybody has the last of each room, which follows `last`.
    fn found(&mut self, last: u64) -> Vec<Verdict> {
        for (channel, offset) in [(RED, last + 1), (BLUE, last + 2)] {
            let id = format!("{channel}-{offset}");
            self.begin(channel, &id, Via::Barrier);
            self.add(Entry::PublishAcked { id, offset: Some(offset), epoch: Some("e".to_owned()) });
            self.hears(channel, offset, "");
        }
        self.judged().kinds()
    }
}

const REFUSED: &[(&str, f64)] = &[("midplane_socketio_returns_total{result=\"unavailable\"}", 1.0)];

#[test]
fn who_comes_back_and_gets_what_it_missed_has_lost_nothing() {
    let mut history = one_seen();
    history.disconnect("eve").publish(BLUE, 2).publish(RED, 3).comes_back("~mpe.1", true);
    assert_eq!(history.hears(BLUE, 2, "").hears(RED, 3, "").found(3), []);
}

#[test]
fn what_was_missed_and_does_not_come_when_it_is_back_is_a_loss() {
    let mut history = one_seen();
    history.disconnect("eve").publish(BLUE, 2).publish(RED, 3).comes_back("~mpe.1", true);
    assert_eq!(history.hears(RED, 3, "").found(3), [Verdict::Lost]);
}

#[test]
fn what_was_published_once_she_was_there_and_never_comes_is_a_loss_although_nothing_came_before() {
    let mut history = one_seen();
    assert_eq!(history.publish(BLUE, 2).publish(BLUE, 3).hears(BLUE, 3, "").found(3), [Verdict::Lost]);
}

#[test]
fn what_was_missed_while_she_was_away_and_is_another_socket_is_told() {
    let mut history = one_seen();
    history.disconnect("eve").publish(BLUE, 2).comes_back("~mpe.1?", false).counts(REFUSED);
    assert_eq!(history.found(2), []);
}

#[test]
fn what_was_missed_before_she_was_another_socket_is_told_also_where_only_healed_events_come_at_first() {
    let mut history = one_seen();
    history.publish(RED, 2).disconnect("eve").publish(RED, 3).publish(RED, 4).publish(RED, 5);
    history.comes_back("~mpe.1?", false).counts(REFUSED).hears_at(RED, 5, "~mp.5?");
    assert_eq!(history.found(5), []);
}

#[test]
fn another_socket_may_hear_what_the_last_one_heard_but_no_socket_hears_anything_twice() {
    let mut history = one_seen();
    history.disconnect("eve").comes_back("~mpe.1?", false).counts(REFUSED).hears(RED, 1, "?");
    assert_eq!(history.found(1), []);
    let mut history = one_seen();
    assert_eq!(history.hears(RED, 1, "?").found(1), [Verdict::Doubled, Verdict::Reordered]);
}

#[test]
fn whoever_is_told_that_it_has_all_gets_nothing_of_it_later() {
    let mut history = one_seen();
    history.publish(BLUE, 2).publish(RED, 3);
    assert_eq!(history.hears(RED, 3, "").hears(BLUE, 2, "").found(3), [Verdict::Reordered]);
}

#[test]
fn what_comes_late_in_another_room_is_good_where_it_was_said_to_be_in_doubt() {
    let mut history = one_seen();
    history.publish(BLUE, 2).publish(RED, 3);
    assert_eq!(history.hears(RED, 3, "?").hears(BLUE, 2, "?").found(3), []);
}

#[test]
fn who_could_have_come_back_and_is_another_socket_was_refused_for_no_reason() {
    let mut history = one_seen();
    history.disconnect("eve").comes_back("~mpe.1", false).counts(REFUSED);
    assert_eq!(history.found(1), [Verdict::Needless]);
}

#[test]
fn a_node_that_is_killed_is_no_reason_and_a_server_is_one() {
    for (target, found) in [(Target::Node(0), vec![Verdict::Needless]), (Target::Server(0), vec![])] {
        let mut history = one_seen();
        history.steps = vec![Step { at_ms: 0, for_ms: 1, fault: Fault::Kill(target) }];
        history.add(Entry::FaultBegan { index: 0, fault: String::new() }).disconnect("eve");
        history.comes_back("~mpe.1", false).add(Entry::FaultEnded { index: 0 }).counts(REFUSED);
        assert_eq!(history.found(1), found, "{target:?}");
    }
}

#[test]
fn who_is_another_socket_is_counted() {
    let mut history = one_seen();
    history.disconnect("eve").comes_back("~mpe.1?", false);
    history.counts(&[("midplane_socketio_returns_total{result=\"recovered\"}", 1.0)]);
    assert_eq!(history.found(1), [Verdict::Uncounted]);
}

#[test]
fn an_event_of_a_room_that_she_is_not_in_is_a_phantom() {
    let mut history = one_seen();
    assert_eq!(history.publish("kept:c2", 2).hears("kept:c2", 2, "").found(2), [Verdict::Phantom]);
}

#[test]
fn the_same_socket_does_not_go_on_in_another_epoch() {
    let mut history = one_seen();
    assert_eq!(history.hears_at(RED, 2, "~mpf.2").found(2), [Verdict::Diverged, Verdict::Phantom]);
}
