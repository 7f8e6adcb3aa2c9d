//! What is stored can be read, and what is read can be trusted.

use midplane::backplane::Page;
use midplane::protocol::{Channel, Offset};

use super::SIZE;
use crate::support::eventually;
use crate::support::member::{Member, channel, text};

pub async fn suite(node: &Member) {
    one_more_than_readers_get_is_kept(node).await;
    pages_follow_each_other(node).await;
    a_page_may_be_longer_than_any_answer(node).await;
    an_empty_channel_stands_at_the_last_offset(node).await;
    a_busy_channel_says_nothing_about_the_others(node).await;
    the_top_is_never_behind_what_was_acknowledged(node).await;
    newer_finds_what_lies_above_the_floor_and_nothing_else(node).await;
    newer_takes_more_channels_than_one_question_can(node).await;
    what_was_removed_is_gone_and_shows(node).await;
}

fn offsets(page: &Page) -> Vec<u64> {
    page.messages.iter().map(|message| message.offset.0).collect()
}

/// A page that holds everything up to `last`: pages may come from a replica that lags.
async fn whole(node: &Member, channel: &Channel, last: u64) -> Page {
    eventually("a page reaches the newest message", async || {
        let page = node.history().page(channel, Offset(1), 10_000).await.unwrap();
        page.messages.last().is_some_and(|message| message.offset.0 == last).then_some(page)
    })
    .await
}

async fn one_more_than_readers_get_is_kept(node: &Member) {
    let channel = channel("kept:size");
    let mut stored = Vec::new();
    for n in 0..SIZE + 4 {
        stored.push(node.store(&channel, &n.to_string()).await);
    }
    let page = whole(node, &channel, *stored.last().unwrap()).await;
    assert_eq!(offsets(&page), stored[stored.len() - SIZE - 1..]);
    assert_eq!(text(&page.messages.last().unwrap().data), (SIZE + 3).to_string());
    let bounds = node.history().bounds("kept").await.unwrap();
    assert!(bounds.first.0 <= page.messages[0].offset.0 && bounds.last.0 >= *stored.last().unwrap());
}

async fn pages_follow_each_other(node: &Member) {
    let (ours, other) = (channel("long:pages"), channel("long:pages.other"));
    let mut stored = Vec::new();
    for n in 0..10 {
        stored.push(node.store(&ours, &n.to_string()).await);
        node.store(&other, "between").await;
    }
    whole(node, &ours, stored[9]).await;
    let history = node.history();
    let page = history.page(&ours, Offset(stored[2]), 3).await.unwrap();
    assert_eq!((offsets(&page), page.more), (stored[2..5].to_vec(), true));
    let page = history.page(&ours, Offset(stored[5]).next(), 4).await.unwrap();
    assert_eq!((offsets(&page), page.more), (stored[6..].to_vec(), false));
    let page = history.page(&ours, Offset(stored[9]).next(), 4).await.unwrap();
    assert_eq!((offsets(&page), page.more), (Vec::new(), false));
    let page = history.page(&channel("long:nothing"), Offset(1), 4).await.unwrap();
    assert_eq!((offsets(&page), page.more), (Vec::new(), false));
}

async fn a_page_may_be_longer_than_any_answer(node: &Member) {
    let channel = channel("long:long");
    let publishing = (0..2_500).map(|n| {
        let channel = channel.clone();
        async move { node.store(&channel, &n.to_string()).await }
    });
    let mut stored = futures_util::future::join_all(publishing).await;
    stored.sort_unstable();
    let page = whole(node, &channel, *stored.last().unwrap()).await;
    assert_eq!(offsets(&page), stored);
    assert!(!page.more);
}

async fn an_empty_channel_stands_at_the_last_offset(node: &Member) {
    let last = node.store(&channel("kept:full"), "x").await;
    let top = node.history().top(&channel("kept:never used")).await.unwrap();
    assert_eq!(top.newest, None);
    assert_eq!(top.position().offset, Offset(last));
    let published = node.publish(&channel("kept:full"), "y").await.position.unwrap();
    assert_eq!(top.epoch, published.epoch);
}

async fn a_busy_channel_says_nothing_about_the_others(node: &Member) {
    let empty = node.history().top(&channel("kept:quiet")).await.unwrap();
    assert_eq!((empty.newest, empty.through), (None, empty.last));
    assert_ne!(empty.position().offset, Offset::NONE, "0 would be no position");
    for n in 0..3 * SIZE {
        node.store(&channel("kept:busy"), &n.to_string()).await;
    }
    let bounds = node.history().bounds("kept").await.unwrap();
    assert!(bounds.first <= empty.last.next(), "what pushed out its own did not age: {bounds:?}");
    assert_eq!(bounds.depths.since(empty.last), SIZE + 1, "so many are kept since");
    assert!(!node.history().retention("kept").is_zero());
}

async fn the_top_is_never_behind_what_was_acknowledged(node: &Member) {
    let channel = channel("long:top");
    for n in 0..100 {
        let offset = node.store(&channel, &n.to_string()).await;
        let top = node.history().top(&channel).await.unwrap();
        assert_eq!(top.newest, Some(Offset(offset)));
        assert!(top.last >= Offset(offset));
    }
}

async fn newer_finds_what_lies_above_the_floor_and_nothing_else(node: &Member) {
    let channels: Vec<_> = (0..20).map(|n| channel(&format!("kept:newer.{n}"))).collect();
    for channel in &channels {
        node.store(channel, "old").await;
    }
    let floor = node.history().bounds("kept").await.unwrap().last;
    assert!(node.history().newer("kept", &channels, floor).await.unwrap().tops.is_empty());
    for round in 0..20 {
        let offset = node.store(&channels[round], "new").await;
        let mut newer = node.history().newer("kept", &channels, floor).await.unwrap().tops;
        newer.sort();
        assert_eq!(newer.len(), round + 1, "never misses what was acknowledged");
        assert!(newer.contains(&(channels[round].clone(), Offset(offset))));
    }
    node.store(&channel("kept:somebody else"), "new").await;
    let top = node.history().bounds("kept").await.unwrap().last;
    let quiet = [channel("kept:newer.none"), channels[0].clone()];
    assert!(node.history().newer("kept", &quiet, top).await.unwrap().tops.is_empty());
    assert!(node.history().newer("kept", &quiet, Offset(top.0 - 1)).await.unwrap().tops.is_empty());
}

async fn newer_takes_more_channels_than_one_question_can(node: &Member) {
    let channels: Vec<_> = (0..2_500).map(|n| channel(&format!("long:many.{n}"))).collect();
    let floor = node.history().bounds("long").await.unwrap().last;
    futures_util::future::join_all(channels.iter().map(|channel| node.store(channel, "x"))).await;
    let mut newer = node.history().newer("long", &channels, floor).await.unwrap().tops;
    newer.sort();
    newer.dedup();
    assert_eq!(newer.len(), channels.len());
}

async fn what_was_removed_is_gone_and_shows(node: &Member) {
    let (ours, other) = (channel("kept:removed"), channel("kept:removed.not"));
    node.subscribe(&ours).await;
    for n in 0..3 {
        node.store(&ours, &n.to_string()).await;
        node.store(&other, &n.to_string()).await;
    }
    let epoch = node.history().top(&ours).await.unwrap().epoch;
    node.history().remove(&ours).await.unwrap();
    let top = node.history().top(&ours).await.unwrap();
    assert_eq!(top.epoch, epoch);
    let tombstone = top.newest.expect("a tombstone");
    let page = whole(node, &ours, tombstone.0).await;
    assert_eq!(offsets(&page), [tombstone.0]);
    assert!(page.messages[0].meta.tombstone);
    let messages = node.received(&ours, 4).await;
    assert!(messages[3].meta.tombstone);
    assert_eq!(messages[3].link.map(|link| link.offset), Some(tombstone));
    assert_eq!(messages[3].link.map(|link| link.previous), messages[2].link.map(|link| link.offset));
    let next = node.store(&ours, "after").await;
    assert!(next > tombstone.0);
    let messages = node.received(&ours, 5).await;
    assert_eq!(messages[4].link.map(|link| link.previous), Some(tombstone));
    assert_eq!(node.history().page(&other, Offset(1), 10).await.unwrap().messages.len(), 3);
}
