//! Everything but the deliveries of channels with recovery.

use super::*;
use crate::plan::Fault;

const PLAIN: &str = "plain:c0";

/// Seconds without an event, as a history has them.
pub(super) fn wait(history: &mut History, seconds: usize) {
    for _ in 0..seconds * 2 {
        history.phase(Phase::Faults);
    }
}

#[test]
fn a_loss_in_calm_is_found() {
    let mut history = History::of(PLAIN);
    wait(&mut history, 5);
    history.publish(PLAIN, 1);
    wait(&mut history, 5);
    assert_eq!(history.judged().kinds(), [Verdict::LostInCalm]);
}

#[test]
fn at_most_once_may_be_lost_in_trouble() {
    let mut history = History::of(PLAIN);
    wait(&mut history, 5);
    history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    history.publish(PLAIN, 1);
    history.add(Entry::FaultEnded { index: 0 });
    wait(&mut history, 5);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_clock_that_is_set_excuses_no_loss() {
    let mut history = History::of(PLAIN);
    wait(&mut history, 5);
    history.steps.push(Step { at_ms: 0, for_ms: 1, fault: Fault::Clock { node: 0, seconds: 3_600 } });
    history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    history.publish(PLAIN, 1);
    history.add(Entry::FaultEnded { index: 0 });
    wait(&mut history, 5);
    assert_eq!(history.judged().kinds(), [Verdict::LostInCalm]);
}

#[test]
fn at_most_once_is_not_twice() {
    let mut history = History::of(PLAIN);
    history.publish(PLAIN, 1).receive("ada", PLAIN, 1).receive("ada", PLAIN, 1);
    assert_eq!(history.judged().kinds(), [Verdict::Doubled]);
}

#[test]
fn at_most_once_may_be_twice_in_trouble_and_is_counted() {
    let mut history = History::of(PLAIN);
    history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    history.publish(PLAIN, 1).receive("ada", PLAIN, 1).receive("ada", PLAIN, 1);
    history.add(Entry::FaultEnded { index: 0 });
    let report = history.judged();
    assert_eq!(report.kinds(), []);
    assert_eq!(report.counts["plain doubled in trouble"], 1);
}

/// Ada gets the later of two of one publisher first; the first one's end may not be known.
fn swapped(trouble: bool, known: bool) -> Report {
    let mut history = History::of(PLAIN);
    wait(&mut history, 5);
    if trouble {
        history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    }
    history.begin(PLAIN, "bob-1", Via::Http);
    history.add(if known {
        Entry::PublishAcked { id: "bob-1".to_owned(), offset: None, epoch: None }
    } else {
        Entry::PublishUnknown { id: "bob-1".to_owned(), why: String::new() }
    });
    history.begin(PLAIN, "cay-7", Via::Http).begin(PLAIN, "bob-2", Via::Http);
    for id in ["bob-2", "cay-7", "bob-1"] {
        history.receive_id("ada", PLAIN, id, 0);
    }
    wait(&mut history, 5);
    history.judged()
}

#[test]
fn one_publishers_order_holds_without_history() {
    assert_eq!(swapped(false, true).kinds(), [Verdict::Reordered]);
    assert_eq!(swapped(false, false).kinds(), [], "it may have been under way still");
    let report = swapped(true, true);
    assert_eq!(report.kinds(), []);
    assert_eq!(report.counts["plain reordered in trouble"], 1);
}

#[test]
fn a_phantom_is_one_in_every_channel() {
    let mut history = History::of(PLAIN);
    history.receive("ada", PLAIN, 1);
    assert_eq!(history.judged().kinds(), [Verdict::Phantom]);
}

#[test]
fn a_refusal_that_no_counter_shows_is_silent() {
    let mut history = History::of("short:c0");
    history.subscribe("ada", "short:c0", Some((0, false)), 9).scrape(Phase::Healed, 0, &[]);
    assert_eq!(history.judged().kinds(), [Verdict::Uncounted]);
}

#[test]
fn a_refusal_that_is_counted_is_good() {
    let mut history = History::of("short:c0");
    let counter = r#"midplane_recoveries_total{namespace="short",result="refused_gap"}"#;
    history.subscribe("ada", "short:c0", Some((0, false)), 9).scrape(Phase::Healed, 0, &[(counter, 1.0)]);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn an_unsubscription_that_no_counter_shows_is_silent() {
    let mut history = History::of("short:c0");
    let (client, channel) = ("ada".to_owned(), "short:c0".to_owned());
    history.add(Entry::Unsubscribed { client, channel, code: 2500, reason: String::new() });
    history.scrape(Phase::Healed, 0, &[]);
    assert_eq!(history.judged().kinds(), [Verdict::Uncounted]);
}

fn snapshot(history: &mut History, expected: &[&str], seen: &[&str]) {
    let all = |uuids: &[&str]| uuids.iter().map(|uuid| (*uuid).to_owned()).collect();
    let (phase, channel) = (Phase::Healed, ROOM.to_owned());
    history.add(Entry::Expected { phase, channel: channel.clone(), uuids: all(expected) });
    history.add(Entry::Snapshot { phase, node: "one".to_owned(), channel, uuids: all(seen) });
}

#[test]
fn a_ghost_and_one_who_is_missing_are_wrong_presence() {
    for (expected, seen, wrong) in
        [(&["a", "b"][..], &["b", "a"][..], false), (&["a"], &["a", "b"], true), (&["a"], &[], true)]
    {
        let mut history = History::of(ROOM);
        snapshot(&mut history, expected, seen);
        assert_eq!(history.judged().kinds().contains(&Verdict::WrongPresence), wrong, "{expected:?} {seen:?}");
    }
}

fn told(history: &mut History, uuid: &str, came: bool) {
    let (client, channel, uuid) = ("ada".to_owned(), ROOM.to_owned(), uuid.to_owned());
    history.add(if came { Entry::Joined { client, channel, uuid } } else { Entry::Left { client, channel, uuid } });
}

#[test]
fn a_leave_is_told_once() {
    for (times, kinds) in [(1, vec![]), (2, vec![Verdict::WrongLeave])] {
        let mut history = History::of(ROOM);
        told(&mut history, "b", true);
        for _ in 0..times {
            told(&mut history, "b", false);
        }
        assert_eq!(history.judged().kinds(), kinds);
    }
}

#[test]
fn one_who_was_taken_for_dead_may_come_twice() {
    let mut history = History::of(ROOM);
    for came in [true, false, true] {
        told(&mut history, "b", came);
    }
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn a_leave_that_is_never_told_is_found_if_there_was_time_for_it() {
    for (seconds, found) in [(5, false), (100, true)] {
        let mut history = History::of(ROOM);
        history.connect("bob", ROOM);
        told(&mut history, "id of bob", true);
        history.disconnect("bob").phase(Phase::Healed);
        wait(&mut history, seconds);
        assert_eq!(history.judged().kinds().contains(&Verdict::WrongLeave), found, "{seconds}");
    }
}

#[test]
fn a_join_that_is_never_told_is_found() {
    for (is_told, found) in [(true, false), (false, true)] {
        let mut history = History::of(ROOM);
        wait(&mut history, 5);
        history.connect("bob", ROOM);
        if is_told {
            told(&mut history, "id of bob", true);
        }
        history.phase(Phase::Healed);
        wait(&mut history, 100);
        assert_eq!(history.judged().kinds().contains(&Verdict::WrongLeave), found, "{is_told}");
    }
}

/// Ada came in trouble, and is not told of bob, who comes so many seconds after everything was healed. If her node `knew` who
/// was there, it told her that she came.
fn bob_comes(knew: bool, healed_for: usize) -> Report {
    let mut history = History::default();
    history.add(Entry::NodeStarted { node: "one".to_owned(), life: 1 });
    history.add(Entry::FaultBegan { index: 0, fault: String::new() }).connect("ada", ROOM);
    wait(&mut history, 5);
    if knew {
        told(&mut history, "id of ada", true);
    }
    history.add(Entry::FaultEnded { index: 0 });
    wait(&mut history, healed_for);
    history.connect("bob", ROOM).phase(Phase::Healed);
    wait(&mut history, 100);
    history.judged()
}

#[test]
fn who_comes_before_a_node_in_trouble_knows_who_is_there_nobody_is_told_of() {
    let report = bob_comes(false, 5);
    assert_eq!((report.kinds(), report.counted("joins before it was known who was there")), (vec![], 1));
    for (knew, healed_for) in [(true, 5), (false, 20)] {
        assert_eq!(bob_comes(knew, healed_for).kinds(), [Verdict::WrongLeave], "{knew} {healed_for}");
    }
}

/// Bob was there when ada came, in trouble or not; then he leaves.
fn bob_was_there(trouble: bool) -> History {
    let mut history = History::default();
    history.add(Entry::NodeStarted { node: "one".to_owned(), life: 1 }).connect("bob", ROOM);
    wait(&mut history, 5);
    if trouble {
        history.add(Entry::FaultBegan { index: 0, fault: String::new() });
    }
    history.connect("ada", ROOM);
    wait(&mut history, 5);
    history.disconnect("bob");
    history
}

#[test]
fn a_leave_of_one_who_was_there_before_is_found() {
    for (trouble, is_told, found) in [(false, true, false), (false, false, true), (true, false, false)] {
        let mut history = bob_was_there(trouble);
        if is_told {
            told(&mut history, "id of bob", false);
        }
        history.add(Entry::FaultEnded { index: 0 }).phase(Phase::Healed);
        wait(&mut history, 100);
        let kinds = history.judged().kinds();
        assert_eq!(kinds.contains(&Verdict::WrongLeave), found, "{trouble} {is_told}: {kinds:?}");
    }
}

#[test]
fn what_is_told_while_everybody_goes_nobody_waits_for() {
    let mut history = History::of(ROOM);
    wait(&mut history, 5);
    history.connect("bob", ROOM);
    told(&mut history, "id of bob", true);
    history.phase(Phase::Healed);
    wait(&mut history, 100);
    history.phase(Phase::Gone).disconnect("bob").disconnect("ada");
    assert_eq!(history.judged_with(Vec::new()).kinds(), []);
    // Before they go it counts, although they do.
    let mut history = bob_was_there(false);
    history.phase(Phase::Healed);
    wait(&mut history, 100);
    history.phase(Phase::Gone).disconnect("ada");
    assert_eq!(history.judged_with(Vec::new()).kinds(), [Verdict::WrongLeave]);
}

#[test]
fn a_user_who_was_never_there_and_is_not_told_of_is_found() {
    let lounge = "lounge:c0";
    let mut history = History::of(lounge);
    wait(&mut history, 5);
    history.connect("bob", lounge).phase(Phase::Healed);
    wait(&mut history, 100);
    assert_eq!(history.judged().kinds(), [Verdict::WrongLeave]);
}

#[test]
fn whoever_never_gets_the_last_publication_is_stuck() {
    let listener =
        |name: &str| Listener { name: name.to_owned(), channels: vec!["kept:c0".to_owned()], ..Listener::default() };
    let mut history = History::of("kept:c0");
    history.connect("bob", "kept:c0").begin("kept:c0", "last", Via::Barrier);
    history.receive_id("ada", "kept:c0", "last", 1).phase(Phase::Gone);
    assert_eq!(history.judged_with(vec![listener("ada")]).kinds(), []);
    assert_eq!(history.judged_with(vec![listener("ada"), listener("bob")]).kinds(), [Verdict::Stuck]);
}

#[test]
fn a_run_that_did_not_end_proves_nothing() {
    assert_eq!(History::of("kept:c0").judged_with(Vec::new()).kinds(), [Verdict::Stuck]);
}

#[test]
fn final_codes_and_refused_subscriptions_are_broken() {
    let (client, channel, reason) = ("ada".to_owned(), "kept:c0".to_owned(), String::new());
    let entries = [
        Entry::GaveUp { client: client.clone(), reason: reason.clone() },
        Entry::Unsubscribed { client: client.clone(), channel: channel.clone(), code: 2000, reason: reason.clone() },
        Entry::SubscribeFailed { client: client.clone(), channel, code: 103, reason: reason.clone() },
        Entry::Broken { client, how: reason },
    ];
    for entry in entries {
        assert_eq!(History::of("kept:c0").add(entry.clone()).judged().kinds(), [Verdict::Broken], "{entry:?}");
    }
}

#[test]
fn a_node_that_ends_by_itself_has_crashed() {
    for (how, crashed) in
        [("killed", false), ("exit status: 0", false), ("exit status: 101", true), ("signal: 6", true)]
    {
        let mut history = History::of("kept:c0");
        history.add(Entry::NodeEnded { node: "one".to_owned(), life: 1, how: how.to_owned() });
        assert_eq!(history.judged().kinds().contains(&Verdict::Crashed), crashed, "{how}");
    }
}

#[test]
fn a_node_may_give_up_waiting_for_nats_but_not_at_once() {
    for (seconds, crashed) in [(31, false), (3, true)] {
        let mut history = History::of("kept:c0");
        wait(&mut history, seconds);
        history.add(Entry::NodeEnded { node: "one".to_owned(), life: 1, how: "exit status: 1".to_owned() });
        assert_eq!(history.judged().kinds().contains(&Verdict::Crashed), crashed, "{seconds}");
    }
}

#[test]
fn what_stays_behind_is_a_leak() {
    for (resident, connections, tasks, leaked) in [
        (50 << 20, 0.0, 30.0, false),
        (50 << 20, 1.0, 30.0, true),
        (57 << 20, 0.0, 30.0, true),
        (50 << 20, 0.0, 60.0, true),
    ] {
        let gauges = |connections: f64, tasks: f64| {
            [(r#"midplane_connections{transport="websocket"}"#, connections), ("midplane_runtime_tasks", tasks)]
        };
        let mut history = History::of("kept:c0");
        // Half of the tasks are of clients.
        history.scrape(Phase::Before, 40 << 20, &gauges(30.0, 60.0));
        history.scrape(Phase::Gone, resident, &gauges(connections, tasks));
        let found = history.judged().kinds().contains(&Verdict::Leaked);
        assert_eq!(found, leaked, "{resident} {connections} {tasks}");
    }
}

#[test]
fn more_than_those_who_are_there_need_is_a_leak() {
    let ada = Listener { name: "ada".to_owned(), channels: vec![ROOM.to_owned()], ..Listener::default() };
    for (connections, subscriptions, channels, leaked) in
        [(1.0, 1.0, 1.0, false), (2.0, 1.0, 1.0, true), (1.0, 2.0, 1.0, true), (1.0, 1.0, 2.0, true)]
    {
        let mut history = History::of(ROOM);
        let gauges = [
            (r#"midplane_connections{transport="websocket"}"#, connections),
            (r#"midplane_subscriptions{namespace="room"}"#, subscriptions),
            ("midplane_channels", channels),
        ];
        history.scrape(Phase::Healed, 0, &gauges).phase(Phase::Gone);
        let found = history.judged_with(vec![ada.clone()]).kinds().contains(&Verdict::Leaked);
        assert_eq!(found, leaked, "{connections} {subscriptions} {channels}");
    }
}
