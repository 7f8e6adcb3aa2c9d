use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::backplane::Revision;
use crate::cluster::entry::{Entry, State};
use crate::cluster::heartbeat::Beat;
use crate::cluster::timing::Timing;
use crate::cluster::view::{Heard, View};
use crate::settings;

fn timing() -> Timing {
    Timing::new(&settings::Cluster {
        heartbeat_interval: Duration::from_secs(1),
        failure_detection_timeout: Duration::from_secs(10),
        address: None,
    })
}

fn entry(name: &str, incarnation: u64) -> Entry {
    Entry {
        name: name.to_owned(),
        incarnation,
        process: format!("process of {name}"),
        address: String::new(),
        version: String::new(),
        capacity: None,
        joined_at: 0,
        state: State::Up,
        debts: Vec::new(),
    }
}

fn beat(name: &str, incarnation: u64) -> Beat {
    Beat {
        name: name.to_owned(),
        process: format!("process of {name}"),
        incarnation,
        state: State::Up,
        ready: true,
        load: Default::default(),
    }
}

/// `me` and others, all at revision 1 to n.
fn view_of(names: &[&str]) -> View {
    let mut view = View::default();
    for (index, name) in names.iter().enumerate() {
        view.apply(entry(name, 1), Revision(index as u64 + 1), Instant::now());
    }
    view
}

async fn seconds(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_for_too_long_is_overdue_and_who_is_heard_is_not() {
    let mut view = view_of(&["me", "ada", "bob"]);
    for _ in 0..12 {
        seconds(1).await;
        assert!(!view.overdue("me", &timing(), Instant::now()).contains(&"ada".to_owned()));
        assert!(matches!(view.heard(&beat("ada", 1), Instant::now()), Heard::Known { agrees: true, .. }));
    }
    assert_eq!(view.overdue("me", &timing(), Instant::now()), ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn how_long_somebody_is_silent_is_known_only_of_who_was_heard() {
    let mut view = view_of(&["a", "b"]);
    seconds(3).await;
    view.heard(&beat("b", 1), Instant::now());
    seconds(2).await;
    view.forgive(&timing(), Instant::now());
    let silence = |name: &str| view.get(name).and_then(|known| known.last_seen(Instant::now()));
    assert_eq!((silence("a"), silence("b")), (None, Some(Duration::from_secs(2))));
}

#[tokio::test(start_paused = true)]
async fn the_only_peer_is_dead_in_time_and_all_of_several_have_twice_the_time() {
    let pair = view_of(&["me", "ada"]);
    let three = view_of(&["me", "ada", "bob"]);
    seconds(10).await;
    assert_eq!(pair.overdue("me", &timing(), Instant::now()), ["ada"]);
    assert!(three.overdue("me", &timing(), Instant::now()).is_empty());
    seconds(10).await;
    assert_eq!(three.overdue("me", &timing(), Instant::now()), ["ada", "bob"]);
}

#[tokio::test(start_paused = true)]
async fn writing_its_entry_is_a_sign_of_life_and_what_others_write_into_it_is_none() {
    let mut view = view_of(&["me", "ada", "bob", "cy"]);
    view.heard(&beat("cy", 1), Instant::now());
    seconds(9).await;
    view.heard(&beat("cy", 1), Instant::now());
    view.apply(entry("ada", 1), Revision(10), Instant::now());
    let mut indebted = entry("bob", 1);
    indebted.owe(0, Some("cy~1"));
    view.apply(indebted, Revision(11), Instant::now());
    seconds(1).await;
    assert_eq!(view.overdue("me", &timing(), Instant::now()), ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn older_news_change_nothing() {
    let mut view = view_of(&["me"]);
    assert!(view.apply(entry("ada", 2), Revision(9), Instant::now()));
    assert!(!view.apply(entry("ada", 1), Revision(8), Instant::now()));
    assert!(!view.forget("ada", Revision(7)));
    assert_eq!(view.heard(&beat("ada", 1), Instant::now()), Heard::Over);
    assert_eq!(view.heard(&beat("ada", 3), Instant::now()), Heard::Stranger);
    assert!(view.forget("ada", Revision(10)));
    assert_eq!(view.heard(&beat("ada", 2), Instant::now()), Heard::Stranger);
}

#[tokio::test(start_paused = true)]
async fn a_list_counts_over_what_was_known_before_it_and_not_over_what_came_since() {
    let mut view = view_of(&["me", "gone", "ada"]);
    let before = view.highest();
    view.apply(entry("new", 1), Revision(20), Instant::now());
    view.replace(vec![(entry("me", 1), Revision(1)), (entry("ada", 5), Revision(2))], before, Instant::now());
    let known: Vec<_> = view.all().map(|known| (known.entry.name.as_str(), known.entry.incarnation)).collect();
    assert_eq!(known, [("ada", 5), ("me", 1), ("new", 1)], "also where revisions began anew");
}

#[tokio::test(start_paused = true)]
async fn after_a_registry_was_lost_its_new_revisions_count() {
    let mut view = View::default();
    view.apply(entry("me", 1), Revision(1000), Instant::now());
    let before = view.highest();
    view.replace(vec![(entry("me", 2), Revision(3))], before, Instant::now());
    assert_eq!(view.highest(), Revision(3));
    // What comes while the next list is on its way is newer than that list.
    let before = view.highest();
    view.apply(entry("me", 3), Revision(5), Instant::now());
    view.apply(entry("new", 1), Revision(6), Instant::now());
    view.replace(vec![(entry("me", 2), Revision(3))], before, Instant::now());
    let known: Vec<_> = view.all().map(|known| (known.entry.name.as_str(), known.entry.incarnation)).collect();
    assert_eq!(known, [("me", 3), ("new", 1)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_of_contact_everybody_has_time_anew() {
    let mut view = view_of(&["me", "ada"]);
    seconds(60).await;
    view.forgive(&timing(), Instant::now());
    seconds(9).await;
    assert!(view.overdue("me", &timing(), Instant::now()).is_empty());
    seconds(1).await;
    assert_eq!(view.overdue("me", &timing(), Instant::now()), ["ada"]);
}

#[tokio::test(start_paused = true)]
async fn a_debt_is_open_when_nobody_will_pay_it() {
    let mut view = view_of(&["me", "ada"]);
    let mut dead = entry("bob", 7);
    dead.state = State::Failed;
    dead.owe(7, Some("ada~1"));
    view.apply(dead, Revision(10), Instant::now());
    let patience = timing().reaping;
    assert!(view.open_debts("me~1", patience, Instant::now()).is_empty(), "ada is at it");
    assert_eq!(view.debts_of("ada~1"), [("bob".to_owned(), 7)]);
    let mut reborn = entry("ada", 2);
    reborn.state = State::Up;
    view.apply(reborn, Revision(11), Instant::now());
    assert_eq!(view.open_debts("me~1", patience, Instant::now()), [("bob".to_owned(), 7)], "another life of ada");
    let mut slow = entry("bob", 7);
    slow.state = State::Failed;
    slow.owe(7, Some("ada~2"));
    view.apply(slow, Revision(12), Instant::now());
    assert!(view.open_debts("me~1", patience, Instant::now()).is_empty());
    advance(patience).await;
    assert_eq!(view.open_debts("me~1", patience, Instant::now()), [("bob".to_owned(), 7)], "ada hangs");
    assert!(view.open_debts("ada~2", patience, Instant::now()).is_empty(), "nobody takes over from itself");
}

#[tokio::test]
async fn a_node_is_ready_once_it_says_so_and_not_in_another_life_before_it_says_so_again() {
    let mut view = view_of(&["me", "ada"]);
    let ready = |view: &View| view.get("ada").is_some_and(|known| known.ready);
    let turned = |heard| matches!(heard, Heard::Known { turned: true, .. });
    assert!(!ready(&view), "it was not heard yet");
    assert!(turned(view.heard(&beat("ada", 1), Instant::now())) && ready(&view));
    assert!(!turned(view.heard(&beat("ada", 1), Instant::now())));
    assert!(turned(view.heard(&Beat { ready: false, ..beat("ada", 1) }, Instant::now())) && !ready(&view));
    view.heard(&beat("ada", 1), Instant::now());
    view.apply(entry("ada", 2), Revision(9), Instant::now());
    assert!(!ready(&view));
}

#[test]
fn a_node_that_does_not_tell_whether_it_is_ready_is_held_to_be() {
    let told = r#"{"name":"ada","process":"p","incarnation":1,"state":"up"}"#;
    assert!(serde_json::from_str::<Beat>(told).unwrap().ready);
}
