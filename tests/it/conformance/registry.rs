//! What nodes share: the last value of each key, guarded, expiring, watched.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use midplane::backplane::{Bucket, Change, Entry, Guard, Registry, RegistryError, Revision, Watch};

use crate::support::member::Member;
use crate::support::{PATIENCE, eventually};

pub async fn suite(node: &Member) {
    let registry = node.backplane.registry(Bucket::Nodes);
    what_was_put_is_read_and_listed(registry).await;
    a_guard_that_does_not_hold_is_a_conflict(registry).await;
    what_was_deleted_is_absent(registry).await;
    of_many_that_write_at_once_one_wins(registry).await;
    more_keys_than_a_page_are_listed(registry).await;
    changes_are_told_in_order(registry).await;
    a_value_with_an_end_goes_and_that_is_told(registry).await;
    a_value_that_is_written_again_stays(registry).await;
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn put(registry: &dyn Registry, key: &str, text: &str, guard: Guard) -> Result<Revision, RegistryError> {
    registry.put(key, value(text), guard, None).await
}

async fn text(registry: &dyn Registry, key: &str) -> Option<String> {
    let entry = registry.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn what_was_put_is_read_and_listed(registry: &dyn Registry) {
    let keys = ["node-1", "a.b c=d*>", "ü", "="];
    for key in keys {
        let revision = put(registry, key, key, Guard::Any).await.unwrap();
        let entry = Entry { key: key.to_owned(), value: value(key), revision };
        assert_eq!(registry.get(key).await.unwrap(), Some(entry.clone()));
        assert!(registry.list().await.unwrap().contains(&entry), "{key} is listed at once");
    }
    assert_eq!(registry.list().await.unwrap().len(), keys.len());
    assert_eq!(registry.get("never").await.unwrap(), None);
    for key in keys {
        registry.delete(key, Guard::Any).await.unwrap();
    }
    assert_eq!(registry.list().await.unwrap(), []);
    assert!(matches!(put(registry, "", "", Guard::Any).await, Err(RegistryError::Refused(_))));
}

async fn a_guard_that_does_not_hold_is_a_conflict(registry: &dyn Registry) {
    let conflicts = |outcome| matches!(outcome, Err(RegistryError::Conflict(key)) if key == "guarded");
    assert!(conflicts(put(registry, "guarded", "x", Guard::Revision(Revision(1))).await));
    let first = put(registry, "guarded", "1", Guard::Absent).await.unwrap();
    assert!(conflicts(put(registry, "guarded", "x", Guard::Absent).await));
    let second = put(registry, "guarded", "2", Guard::Revision(first)).await.unwrap();
    assert!(second > first);
    assert!(conflicts(put(registry, "guarded", "x", Guard::Revision(first)).await));
    assert!(conflicts(registry.delete("guarded", Guard::Revision(first)).await));
    assert_eq!(text(registry, "guarded").await.as_deref(), Some("2"));
}

async fn what_was_deleted_is_absent(registry: &dyn Registry) {
    let revision = put(registry, "deleted", "1", Guard::Any).await.unwrap();
    let gone = registry.delete("deleted", Guard::Revision(revision)).await.unwrap();
    assert!(gone > revision);
    assert_eq!(text(registry, "deleted").await, None);
    let again = put(registry, "deleted", "2", Guard::Absent).await.unwrap();
    assert!(again > gone);
    assert_eq!(text(registry, "deleted").await.as_deref(), Some("2"));
}

async fn of_many_that_write_at_once_one_wins(registry: &dyn Registry) {
    for round in 0..5 {
        let key = format!("contested-{round}");
        let writes = (0..20).map(|_| put(registry, &key, "mine", Guard::Absent));
        let outcomes = join_all(writes).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|it| matches!(it, Ok(_) | Err(RegistryError::Conflict(_)))), "{outcomes:?}");
    }
}

async fn more_keys_than_a_page_are_listed(registry: &dyn Registry) {
    let writes = (0..1_100).map(async |n| put(registry, &format!("many-{n:04}"), "x", Guard::Absent).await.unwrap());
    join_all(writes).await;
    let listed = registry.list().await.unwrap();
    let many = listed.iter().filter(|entry| entry.key.starts_with("many-"));
    assert_eq!(many.count(), 1_100);
}

/// The next change of `key`.
async fn change(watch: &mut Watch, wanted: &str) -> (Option<String>, Revision) {
    let next = async {
        loop {
            match watch.next().await.expect("a change") {
                Change::Entry { key, value, revision } if key == wanted => {
                    return (value.map(|value| String::from_utf8(value.to_vec()).unwrap()), revision);
                }
                Change::Entry { .. } | Change::Missed | Change::Lost => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("a change in time")
}

async fn changes_are_told_in_order(registry: &dyn Registry) {
    let mut watch = registry.watch().await.unwrap();
    let mut expected = Vec::new();
    for text in ["1", "2", "3"] {
        let revision = put(registry, "watched", text, Guard::Any).await.unwrap();
        expected.push((Some(text.to_owned()), revision));
    }
    let gone = registry.delete("watched", Guard::Any).await.unwrap();
    expected.push((None, gone));
    for expected in expected {
        assert_eq!(change(&mut watch, "watched").await, expected);
    }
}

async fn a_value_with_an_end_goes_and_that_is_told(registry: &dyn Registry) {
    let mut watch = registry.watch().await.unwrap();
    let second = Some(Duration::from_secs(1));
    for guard in [Guard::Any, Guard::Absent] {
        let revision = registry.put("lease", value("mine"), guard, second).await.unwrap();
        assert_eq!(change(&mut watch, "lease").await, (Some("mine".to_owned()), revision));
        let (gone, later) = change(&mut watch, "lease").await;
        assert!(gone.is_none() && later > revision);
        assert_eq!(text(registry, "lease").await, None);
    }
}

async fn a_value_that_is_written_again_stays(registry: &dyn Registry) {
    let second = Some(Duration::from_secs(1));
    let revision = registry.put("renewed", value("1"), Guard::Any, second).await.unwrap();
    registry.put("ending", value("1"), Guard::Any, second).await.unwrap();
    put(registry, "renewed", "2", Guard::Revision(revision)).await.unwrap();
    eventually("the other one goes", async || text(registry, "ending").await.is_none().then_some(())).await;
    assert_eq!(text(registry, "renewed").await.as_deref(), Some("2"));
}
