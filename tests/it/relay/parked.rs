//! Slow readers that are parked catch up from history, or are told.

use midplane::hub::SlowReader;
use midplane::protocol::centrifuge::{Filter, FilterNode};
use midplane::relay::Resumed;

use super::*;

/// What may wait for a parked reader, in bytes of frames: about ten publications.
const ROOM: usize = 1200;

async fn park(stage: &Stage, ear: &Ear, filter: Option<Arc<Filter>>) -> Membership {
    let channel = channel_of("chat:room");
    let namespace = stage.namespaces.of(&channel).expect("a namespace of the stage");
    let wish = Wish { slow: SlowReader::Recover, positioned: true, filter, ..wish() };
    let joined = stage.relay.join(&channel, namespace, &wish, &ear.outbox).await.expect("joins");
    drop(joined.hold);
    ear.stop_reading();
    joined.membership
}

/// Reads what waits, again and again, until the subscription is live; what it said on the way.
async fn read_on(stage: &Stage, ear: &Ear, membership: &Membership) -> Vec<Resumed> {
    read_on_by_parts(stage, ear, membership, 1 << 20).await
}

/// The same, with so many bytes of data read from the stream at one time.
async fn read_on_by_parts(stage: &Stage, ear: &Ear, membership: &Membership, part: usize) -> Vec<Resumed> {
    let mut said = Vec::new();
    loop {
        ear.read_on();
        let asked = ear.requests();
        assert!(asked.iter().all(|request| *request == Control::Drained));
        assert!(said.is_empty() || !asked.is_empty(), "whoever waits for more is told to come back");
        ear.stop_reading();
        let Some(resumed) = stage.relay.resume(membership, &ear.outbox, part).await else { break };
        said.push(resumed);
        if resumed != Resumed::StillParked {
            break;
        }
    }
    ear.read_on();
    said
}

#[tokio::test]
async fn a_parked_reader_catches_up_in_order_from_the_nodes_memory_and_is_live_again() {
    let stage = Stage::set();
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let membership = park(&stage, &slow, None).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    stage.publish("chat:room", 1..=100).await;
    hears(&witness, 1..=100).await;
    let said = read_on(&stage, &slow, &membership).await;
    assert_eq!(said.last(), Some(&Resumed::Live));
    assert!(said.len() > 5, "no more than there is room for at one time: {said:?}");
    stage.publish("chat:room", [101, 102]).await;
    hears(&slow, 1..=102).await;
    assert_eq!(slow.requests(), [], "nothing was lost");
    let metrics = stage.telemetry.render();
    for (action, count) in [("parked", 1), ("recovered", 1)] {
        let line = format!("midplane_slow_consumers_total{{action=\"{action}\"}} {count}");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn what_a_parked_reader_missed_is_read_from_the_stream_where_the_nodes_memory_does_not_reach() {
    let stage = Stage::set_with([namespaces::open("chat", Some(1000))]);
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let membership = park(&stage, &slow, None).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    stage.publish("chat:room", 1..=400).await;
    hears(&witness, 1..=400).await;
    assert_eq!(read_on(&stage, &slow, &membership).await.last(), Some(&Resumed::Live));
    stage.publish("chat:room", [401]).await;
    hears(&slow, 1..=401).await;
}

#[tokio::test]
async fn a_parked_reader_that_missed_many_times_what_may_wait_gets_it_part_after_part() {
    let stage = Stage::set_with([namespaces::open("chat", Some(1000))]);
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let membership = park(&stage, &slow, None).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    stage.publish("chat:room", 1..=900).await;
    hears(&witness, 1..=900).await;
    let said = read_on_by_parts(&stage, &slow, &membership, 30).await;
    assert_eq!(said.last(), Some(&Resumed::Live));
    assert!(said.len() > 70, "about ten at one time: {}", said.len());
    stage.publish("chat:room", [901]).await;
    hears(&slow, 1..=901).await;
    assert_eq!(slow.requests(), [], "nothing was lost");
}

#[tokio::test]
async fn a_part_is_read_only_when_the_one_before_was() {
    let stage = Stage::set_with([namespaces::open("chat", Some(1000))]);
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let membership = park(&stage, &slow, None).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    stage.publish("chat:room", 1..=400).await;
    hears(&witness, 1..=400).await;
    stage.faults.history_held.send_replace(true);
    let resumed = stage.relay.resume(&membership, &slow.outbox, 30).await;
    assert_eq!(resumed, Some(Resumed::StillParked), "without a question to the store, which would not answer");
    stage.faults.history_held.send_replace(false);
    assert_eq!(read_on(&stage, &slow, &membership).await.last(), Some(&Resumed::Live));
    hears(&slow, 1..=400).await;
}

#[tokio::test]
async fn a_parked_reader_is_told_where_history_went_on_between_two_parts() {
    let stage = Stage::set_with([namespaces::open("chat", Some(300))]);
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let membership = park(&stage, &slow, None).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    stage.publish("chat:room", 1..=250).await;
    hears(&witness, 1..=250).await;
    slow.read_on();
    let resumed = stage.relay.resume(&membership, &slow.outbox, 30).await;
    assert_eq!(resumed, Some(Resumed::StillParked));
    stage.publish("chat:room", 251..=900).await;
    hears(&witness, 1..=900).await;
    assert_eq!(read_on_by_parts(&stage, &slow, &membership, 30).await, [Resumed::Lost]);
    assert!(slow.requests().contains(&Control::Lost(channel_of("chat:room"))));
    let heard = slow.heard();
    assert!(heard.len() > 10 && heard.len() < 250, "one part of it: {}", heard.len());
    assert_eq!(heard, (1..=heard.len() as u64).collect::<Vec<_>>(), "and nothing after the hole");
}

#[tokio::test]
async fn a_parked_reader_is_told_where_history_does_not_reach_back() {
    let stage = Stage::set();
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let membership = park(&stage, &slow, None).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    stage.publish("chat:room", 1..=400).await;
    hears(&witness, 1..=400).await;
    assert_eq!(read_on(&stage, &slow, &membership).await, [Resumed::Lost]);
    assert!(slow.requests().contains(&Control::Lost(channel_of("chat:room"))));
    let heard = slow.heard();
    assert_eq!(heard, (1..=heard.len() as u64).collect::<Vec<_>>(), "and nothing after the hole");
}

#[tokio::test]
async fn a_parked_reader_with_a_filter_catches_up_with_what_passes() {
    let stage = Stage::set();
    let (slow, witness) = (Ear::with_room(ROOM), Ear::new());
    let node = FilterNode { key: "even".into(), cmp: "ex".into(), ..FilterNode::default() };
    let filter = Arc::new(Filter::of(&node).expect("a filter"));
    let membership = park(&stage, &slow, Some(filter)).await;
    let _listening = stage.listen(&witness, "chat:room").await;
    for number in 1..=100_u64 {
        let mut message = Outgoing { data: number.to_string().into(), ..Outgoing::default() };
        if number % 2 == 0 {
            message.meta.tags = vec![("even".to_owned(), String::new())];
        }
        stage.relay.publish(&channel_of("chat:room"), message, Source::Http).await.expect("publishes");
    }
    hears(&witness, 1..=100).await;
    assert_eq!(read_on(&stage, &slow, &membership).await.last(), Some(&Resumed::Live));
    hears(&slow, (2..=100).step_by(2)).await;
}

#[tokio::test]
async fn who_recovers_with_a_filter_gets_what_passes_and_the_latest_that_passes() {
    let stage = Stage::set();
    let channel = channel_of("chat:room");
    let witness = Ear::new();
    let joined = stage.join(&witness, "chat:room", None).await;
    let start = joined.position.clone().expect("a position");
    drop(joined.hold);
    for (number, lang) in [(1, "de"), (2, "fr"), (3, "de"), (4, "fr")] {
        let mut message = Outgoing { data: number.to_string().into(), ..Outgoing::default() };
        message.meta.tags = vec![("lang".to_owned(), lang.to_owned())];
        stage.relay.publish(&channel, message, Source::Http).await.expect("publishes");
    }
    hears(&witness, 1..=4).await;
    let namespace = stage.namespaces.of(&channel).expect("a namespace of the stage");
    for (lang, mode, expected) in [
        ("de", RecoveryMode::Stream, Ok(vec![1, 3])),
        ("it", RecoveryMode::Stream, Ok(vec![])),
        ("de", RecoveryMode::Cache, Ok(vec![3])),
        ("fr", RecoveryMode::Cache, Ok(vec![4])),
        ("it", RecoveryMode::Cache, Err(Refusal::Trimmed)),
    ] {
        let node = FilterNode { key: "lang".into(), cmp: "eq".into(), val: lang.into(), ..FilterNode::default() };
        let filter = Some(Arc::new(Filter::of(&node).expect("a filter")));
        let since = Some(Since { offset: start.offset, epoch: start.epoch.as_str().to_owned() });
        let wish = Wish { since, positioned: true, mode, filter, ..wish() };
        let joined = stage.relay.join(&channel, namespace, &wish, &Ear::new().outbox).await.expect("joins");
        assert_eq!(recovered(&joined), expected, "{lang} {mode:?}");
    }
}
