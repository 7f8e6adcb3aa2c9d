//! Tokens that were taken back; each entry comes half a second after the one before.

use super::*;

fn let_in(history: &mut History, connection: u64) {
    history.add(Entry::LetIn { user: "eve".to_owned(), node: "one".to_owned(), connection });
}

fn sent_away(history: &mut History, connection: u64) {
    ends(history, connection, 3_500);
}

fn ends(history: &mut History, connection: u64, code: u32) {
    history.add(Entry::SentAway { connection, code });
}

fn revoked(history: &mut History) {
    history.add(Entry::Revoked { user: "eve".to_owned() });
}

fn seconds(history: &mut History, seconds: u64) {
    for _ in 0..seconds * 2 {
        history.add(Entry::FaultEnded { index: 0 });
    }
}

#[test]
fn who_is_sent_away_at_once_and_not_let_in_again_is_good() {
    let mut history = History::of(ROOM);
    history.add(Entry::LastVisits);
    let_in(&mut history, 1);
    revoked(&mut history);
    sent_away(&mut history, 1);
    assert_eq!(history.judged().kinds(), []);
}

#[test]
fn who_stays_is_found() {
    let mut history = History::of(ROOM);
    let_in(&mut history, 1);
    assert_eq!(history.judged().kinds(), [], "nobody took the token back");
    revoked(&mut history);
    assert_eq!(history.judged().kinds(), [Verdict::Unrevoked]);
    history.add(Entry::LastVisits);
    sent_away(&mut history, 1);
    assert_eq!(history.judged().kinds(), [], "in trouble it may take until everything is healed");
}

#[test]
fn who_stays_for_long_while_all_is_well_is_found() {
    let mut history = History::of(ROOM);
    history.add(Entry::LastVisits);
    let_in(&mut history, 1);
    revoked(&mut history);
    seconds(&mut history, 1);
    sent_away(&mut history, 1);
    assert_eq!(history.judged().kinds(), [Verdict::Unrevoked]);
}

#[test]
fn a_run_that_is_late_itself_excuses_as_much_and_only_then() {
    for (micros, before, kinds) in [
        (1_100_000, false, vec![]),
        (900_000, false, vec![Verdict::Unrevoked]),
        (1_100_000, true, vec![Verdict::Unrevoked]),
    ] {
        let late = Entry::Late { micros };
        let mut history = History::of(ROOM);
        history.add(Entry::LastVisits);
        let_in(&mut history, 1);
        if before {
            history.add(late.clone());
        }
        revoked(&mut history);
        seconds(&mut history, 1);
        if !before {
            history.add(late);
        } else {
            history.add(Entry::FaultEnded { index: 0 });
        }
        sent_away(&mut history, 1);
        assert_eq!(history.judged().kinds(), kinds, "{micros} {before}");
    }
}

#[test]
fn silence_sends_nobody_away_while_all_is_well() {
    for (healed, kinds) in [(true, vec![Verdict::Unrevoked]), (false, vec![])] {
        let mut history = History::of(ROOM);
        if healed {
            history.add(Entry::LastVisits);
        }
        let_in(&mut history, 1);
        revoked(&mut history);
        ends(&mut history, 1, 0);
        assert_eq!(history.judged().kinds(), kinds, "{healed}");
    }
}

#[test]
fn who_is_let_in_again_is_found_at_once_while_all_is_well_and_later_in_trouble() {
    for (healed, soon, after) in [(true, 0, 1), (false, 44, 46)] {
        for (seconds_later, kinds) in [(soon, vec![]), (after, vec![Verdict::Unrevoked])] {
            let mut history = History::of(ROOM);
            if healed {
                history.add(Entry::LastVisits);
            }
            revoked(&mut history);
            seconds(&mut history, seconds_later);
            let_in(&mut history, 1);
            sent_away(&mut history, 1);
            assert_eq!(history.judged().kinds(), kinds, "{healed}, {seconds_later} s");
        }
    }
}
