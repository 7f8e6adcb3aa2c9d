//! Who is where: the last word on each counts, what changes is told, and departures can be read for a while.

use midplane::backplane::presences::DEPARTED_FOR;
use midplane::backplane::{Occupant, Presences, Record, RecordPage, Source, Whose, Word};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::member::{Member, channel};

pub async fn suite(node: &Member) {
    let records = node.backplane.presences().expect("a backplane that records presence");
    the_last_word_counts(records).await;
    everything_since_a_revision_can_be_read_page_by_page(records).await;
    a_channel_with_very_many_is_read_page_by_page(records).await;
    channels_and_nodes_are_told_from_their_neighbours(records).await;
    what_is_watched_is_told(records).await;
}

fn occupant(node: &str, name: &str, client: u128) -> Occupant {
    Occupant { node: node.into(), channel: channel(name), client: Uuid::from_u128(client) }
}

async fn page(records: &dyn Presences, whose: Whose<'_>, from: u64, limit: usize) -> RecordPage {
    records.page(whose, from, limit, Source::Replica).await.unwrap()
}

async fn the_last_word_counts(records: &dyn Presences) {
    let ann = occupant("a~1", "plain:word", 1);
    let first = records.record(&ann, Word::Here("{}".into())).await.unwrap();
    let second = records.record(&ann, Word::Here("{\"user\":\"ann\"}".into())).await.unwrap();
    assert!(second > first);
    let (info, departed) = (Some("{\"user\":\"ann\"}".into()), None);
    let wanted = Record { occupant: ann.clone(), info, departed, revision: second };
    // A replica may lag for a moment.
    eventually("the last word is read", async || {
        let page = page(records, Whose::Channel(&ann.channel), 1, 10).await;
        (page.records == [wanted.clone()] && !page.more).then_some(())
    })
    .await;
    let left = records.record(&ann, Word::Left(Some("{\"user\":\"ann\"}".into()))).await.unwrap();
    let departed = eventually("the departure is read", async || {
        let page = page(records, Whose::Channel(&ann.channel), 1, 10).await;
        let [Record { info: None, departed, revision, .. }] = &page.records[..] else { return None };
        (*revision == left).then(|| departed.clone())
    })
    .await;
    let departed = departed.expect("who has left");
    assert!(departed.info == "{\"user\":\"ann\"}" && departed.ago < DEPARTED_FOR);
    assert!(records.roll().await.unwrap().last >= left);
}

async fn everything_since_a_revision_can_be_read_page_by_page(records: &dyn Presences) {
    let before = records.roll().await.unwrap();
    for client in 0..25 {
        records.record(&occupant("b~1", "plain:pages", client), Word::Here("{}".into())).await.unwrap();
    }
    assert_eq!(records.roll().await.unwrap().identity, before.identity);
    let channel = channel("plain:pages");
    for whose in [Whose::Everybody, Whose::Channel(&channel), Whose::Node("b~1")] {
        all_pages(records, whose, before.last + 1, 10, 25).await;
    }
    let tenth = page(records, Whose::Channel(&channel), before.last + 1, 10).await.next;
    all_pages(records, Whose::Channel(&channel), tenth, 10, 15).await;
}

/// Reads page by page, until `clients` were read, the last ones that were recorded, in their order.
async fn all_pages(records: &dyn Presences, whose: Whose<'_>, from: u64, limit: usize, count: u128) {
    let clients = eventually("all pages are read", async || {
        let (mut from, mut clients) = (from, Vec::new());
        loop {
            let page = page(records, whose, from, limit).await;
            assert!(page.records.len() <= limit);
            from = page.next;
            clients.extend(page.records.into_iter().map(|record| record.occupant.client.as_u128()));
            if !page.more {
                return Some(clients).filter(|clients| clients.len() as u128 == count);
            }
        }
    })
    .await;
    let last = *clients.last().unwrap();
    assert_eq!(clients, (last + 1 - count..=last).collect::<Vec<_>>());
}

/// More than a server looks up by their subjects at once.
async fn a_channel_with_very_many_is_read_page_by_page(records: &dyn Presences) {
    const MANY: u128 = 1_100;
    for client in 0..MANY {
        records.record(&occupant("d~1", "plain:crowd", client), Word::Here("{}".into())).await.unwrap();
    }
    all_pages(records, Whose::Channel(&channel("plain:crowd")), 1, 400, MANY).await;
}

async fn channels_and_nodes_are_told_from_their_neighbours(records: &dyn Presences) {
    for (client, name) in
        ["plain:a", "plain:a.b", "plain:a.b.c", "$plain:a", "a", "kept:a", "plain:a b*>%"].iter().enumerate()
    {
        for node in ["c~1", "c~11"] {
            let id = client as u128 + if node == "c~1" { 0 } else { 100 };
            records.record(&occupant(node, name, id), Word::Here("{}".into())).await.unwrap();
        }
        eventually(&format!("the two of {name} are read"), async || {
            let page = page(records, Whose::Channel(&channel(name)), 1, 10).await;
            let of_it = page.records.iter().all(|record| record.occupant.channel == channel(name));
            (of_it && page.records.len() == 2).then_some(())
        })
        .await;
    }
    let of_node = page(records, Whose::Node("c~1"), 1, 100).await;
    assert_eq!(of_node.records.len(), 7);
    assert!(of_node.records.iter().all(|record| &*record.occupant.node == "c~1"));
}

async fn what_is_watched_is_told(records: &dyn Presences) {
    let mut changes = records.changes().expect("given out once");
    assert!(records.changes().is_none());
    let (watched, other) = (occupant("d~1", "plain:watched.x", 1), occupant("d~1", "plain:watched", 2));
    records.watch(&watched.channel).await.unwrap();
    records.watch(&watched.channel).await.unwrap();
    // That one server accepted it does not mean that all have heard of it.
    let mut client = 1000;
    eventually("changes begin", async || {
        client += 1;
        records.record(&occupant("d~1", "plain:watched.x", client), Word::Here("{}".into())).await.unwrap();
        changes.try_recv().ok()
    })
    .await;
    let revision = records.record(&watched, Word::Here("{\"user\":\"ann\"}".into())).await.unwrap();
    records.record(&other, Word::Here("{}".into())).await.unwrap();
    let left = records.record(&watched, Word::Left(None)).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        let change = changes.recv().await.unwrap();
        if change.occupant == watched {
            told.push((change.revision, change.info.is_some()));
        } else {
            assert!(change.occupant.client.as_u128() > 1000, "not watched: {change:?}");
        }
    }
    assert_eq!(told, [(revision, true), (left, false)]);
    records.unwatch(&watched.channel);
}
