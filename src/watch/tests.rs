use std::time::Duration;

use uuid::Uuid;

use super::leases::Leases;
use super::watcher::{Told, Watchers};
use super::{Sighting, Subject, What};

fn sighting(user: &str, what: What) -> Sighting {
    Sighting { at: 1, node: "ada".to_owned(), user: user.to_owned(), client: Uuid::nil(), what }
}

fn joined(user: &str, channel: &str) -> Sighting {
    sighting(user, What::Subscribed { channel: channel.to_owned() })
}

#[test]
fn a_sighting_is_read_as_it_was_written() {
    let left = What::Left { channel: "chat:a".to_owned(), code: 3503, reason: "force disconnect".to_owned() };
    let seen = sighting("ada", left);
    let json = serde_json::to_string(&seen).unwrap();
    assert!(json.contains(r#""event":"left","channel":"chat:a","code":3503"#), "{json}");
    assert_eq!(serde_json::from_str::<Sighting>(&json).unwrap(), seen);
    assert_eq!(serde_json::to_string(&Subject::User("ada".to_owned())).unwrap(), r#"{"user":"ada"}"#);
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_wanted_for_a_while_and_by_channel_or_by_user() {
    let leases = Leases::default();
    assert!(!leases.any());
    leases.grant(Subject::Channel("chat:a".to_owned()));
    assert!(leases.any() && leases.want(&joined("ada", "chat:a")));
    assert!(!leases.want(&joined("ada", "chat:b")));
    assert!(!leases.want(&sighting("ada", What::Connected { transport: "sse".to_owned() })));
    tokio::time::advance(Duration::from_secs(10)).await;
    leases.grant(Subject::User("ada".to_owned()));
    tokio::time::advance(Duration::from_secs(10)).await;
    leases.sweep();
    assert!(!leases.want(&joined("bob", "chat:a")) && leases.want(&joined("ada", "chat:a")));
    tokio::time::advance(Duration::from_secs(10)).await;
    leases.sweep();
    assert!(!leases.any());
}

#[tokio::test]
async fn a_watcher_that_reads_too_slowly_is_told_how_much_it_missed() {
    let watchers = Watchers::default();
    let mut watching = watchers.enter(Subject::User("ada".to_owned())).unwrap();
    let storm: Vec<_> = (0..300).map(|n| joined("ada", &format!("chat:{n}"))).collect();
    watchers.pass_on(&storm, 0);
    for _ in 0..256 {
        assert!(matches!(watching.told.recv().await, Some(Told::Seen(_))));
    }
    watchers.pass_on(&[joined("bob", "chat:a"), joined("ada", "chat:a")], 3);
    assert!(matches!(watching.told.recv().await, Some(Told::Missed(47))));
    assert!(matches!(watching.told.recv().await, Some(Told::Seen(seen)) if seen.user == "ada"));
}

#[test]
fn so_many_watch_on_a_node_and_who_leaves_makes_room() {
    let watchers = Watchers::default();
    let mut all: Vec<_> = (0..32).map(|n| watchers.enter(Subject::User(n.to_string())).unwrap()).collect();
    assert!(watchers.enter(Subject::User("one more".to_owned())).is_none());
    all.pop();
    assert!(watchers.enter(Subject::User("one more".to_owned())).is_some());
}
