//! What a publisher is told, and what guards do.

use midplane::backplane::{Outgoing, Published, Version};
use midplane::protocol::{Channel, Offset};

use crate::support::member::{Member, channel, outgoing};

pub async fn suite(node: &Member) {
    a_key_used_again_delivers_nothing_and_returns_the_first_result(node).await;
    the_same_key_in_another_channel_is_another_key(node).await;
    an_older_version_is_dropped(node).await;
    versions_of_another_epoch_are_not_compared(node).await;
    a_publication_without_version_does_not_hide_the_guard(node).await;
    what_skips_history_is_delivered_without_offset(node).await;
    concurrent_publications_each_get_an_offset(node).await;
}

async fn keyed(node: &Member, channel: &Channel, key: &str, data: &str) -> Published {
    let message = Outgoing { idempotency_key: Some(key.to_owned()), ..outgoing(data) };
    node.backplane.publish(channel, message).await.unwrap()
}

async fn versioned(node: &Member, channel: &Channel, number: u64, epoch: &str) -> Published {
    let version = Version { number, epoch: epoch.to_owned() };
    let message = Outgoing { version: Some(version), ..outgoing(&format!("{number}{epoch}")) };
    node.backplane.publish(channel, message).await.unwrap()
}

async fn a_key_used_again_delivers_nothing_and_returns_the_first_result(node: &Member) {
    for name in ["kept:key", "plain:key"] {
        let channel = channel(name);
        node.subscribe(&channel).await;
        let first = keyed(node, &channel, "k 1|\n", "first").await;
        node.publish(&channel, "between").await;
        let second = keyed(node, &channel, "k 1|\n", "second").await;
        node.publish(&channel, "end").await;
        node.received(&channel, 3).await;
        assert_eq!(node.texts(&channel), ["first", "between", "end"]);
        assert_eq!(second.position, first.position);
        assert!(second.suppressed && !first.suppressed);
    }
}

async fn the_same_key_in_another_channel_is_another_key(node: &Member) {
    for (one, other) in [("kept:a", "kept:b"), ("kept:a|b", "kept:a"), ("plain:a", "plain:b")] {
        let first = keyed(node, &channel(one), "b|same", "first").await;
        let second = keyed(node, &channel(other), "same", "second").await;
        let third = keyed(node, &channel(other), "b|same", "third").await;
        assert!(!first.suppressed && !second.suppressed, "{one} {other}");
        assert!(!third.suppressed || other == "kept:a", "{one} {other}");
    }
}

async fn an_older_version_is_dropped(node: &Member) {
    let channel = channel("kept:version");
    node.subscribe(&channel).await;
    let second = versioned(node, &channel, 2, "").await;
    for number in [1, 2] {
        let dropped = versioned(node, &channel, number, "").await;
        assert!(dropped.suppressed);
        assert_eq!(dropped.position, second.position, "the channel's top");
    }
    assert!(!versioned(node, &channel, 3, "").await.suppressed);
    node.received(&channel, 2).await;
    assert_eq!(node.texts(&channel), ["2", "3"]);
}

async fn versions_of_another_epoch_are_not_compared(node: &Member) {
    let channel = channel("kept:version.epoch");
    assert!(!versioned(node, &channel, 5, "a").await.suppressed);
    assert!(versioned(node, &channel, 4, "a").await.suppressed);
    assert!(!versioned(node, &channel, 1, "b").await.suppressed);
    assert!(versioned(node, &channel, 1, "").await.suppressed, "no epoch compares with any");
}

async fn a_publication_without_version_does_not_hide_the_guard(node: &Member) {
    let channel = channel("kept:version.hidden");
    versioned(node, &channel, 7, "").await;
    let top = node.publish(&channel, "unversioned").await;
    let dropped = versioned(node, &channel, 6, "").await;
    assert!(dropped.suppressed);
    assert_eq!(dropped.position, top.position);
    assert!(!versioned(node, &channel, 8, "").await.suppressed);
}

async fn what_skips_history_is_delivered_without_offset(node: &Member) {
    let channel = channel("kept:skip");
    node.subscribe(&channel).await;
    node.store(&channel, "stored").await;
    node.received(&channel, 1).await;
    let skipping = Outgoing { skip_history: true, ..outgoing("passing") };
    assert_eq!(node.backplane.publish(&channel, skipping).await.unwrap(), Published::default());
    let messages = node.received(&channel, 2).await;
    assert!(messages[1].link.is_none());
    let last = node.store(&channel, "stored too").await;
    let messages = node.received(&channel, 3).await;
    assert_eq!(messages[2].link.map(|link| link.previous), messages[0].link.map(|link| link.offset));
    let page = node.history().page(&channel, Offset(1), 10).await.unwrap();
    assert_eq!(page.messages.len(), 2);
    assert_eq!(page.messages[1].offset, Offset(last));
}

async fn concurrent_publications_each_get_an_offset(node: &Member) {
    let channel = channel("long:concurrent");
    node.subscribe(&channel).await;
    let publishing = (0..300).map(|n| {
        let (channel, data) = (channel.clone(), n.to_string());
        async move { node.store(&channel, &data).await }
    });
    let mut offsets = futures_util::future::join_all(publishing).await;
    offsets.sort_unstable();
    let messages = node.received(&channel, 300).await;
    let delivered: Vec<_> = messages.iter().map(|message| message.link.unwrap().offset.0).collect();
    assert_eq!(delivered, offsets);
}
