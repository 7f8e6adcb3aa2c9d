//! Many who recover at once: what they want of one channel is read once, and no more is read at a time than may be.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use midplane::hub::Turnstile;
use midplane::relay::{HistoryQuery, HistoryQueryError, JoinError};

use super::*;

const READERS: usize = 20;
/// More than a node keeps of a channel in its memory.
const MISSED: u64 = 300;

fn reads(stage: &Stage) -> usize {
    let metrics = stage.telemetry.render();
    let line = "midplane_recovery_duration_seconds_count{source=\"stream\"} ";
    metrics.lines().find_map(|found| found.strip_prefix(line)).map_or(0, |count| count.parse().expect("a number"))
}

/// Lets history answer once somebody has asked it.
async fn release(stage: &Stage) {
    stage.faults.history_read.notified().await;
    stage.faults.history_held.send_replace(false);
}

#[tokio::test]
async fn those_who_come_back_to_the_same_position_at_once_share_one_reading() {
    let stage = Stage::set_with([namespaces::open("chat", Some(500))]);
    let since = stage.publish("chat:room", [0]).await;
    stage.publish("chat:room", 1..=MISSED).await;
    stage.faults.history_held.send_replace(true);
    let ears: Vec<_> = (0..READERS).map(|_| Ear::new()).collect();
    let (joined, ()) = tokio::join!(join_all_at_once(&stage, &ears, since.as_ref()), release(&stage));
    for joined in joined {
        assert_eq!(recovered(&joined), Ok((1..=MISSED).collect()));
    }
    assert_eq!(reads(&stage), 1);
}

async fn join_all_at_once(stage: &Stage, ears: &[Ear], since: Option<&Position>) -> Vec<Joined> {
    // The limit of the stage's wish is lower than what they missed.
    let channel = channel_of("chat:room");
    let namespace = stage.namespaces.of(&channel).expect("a namespace of the stage");
    let since = since.map(|at| Since { offset: at.offset, epoch: at.epoch.as_str().to_owned() });
    let wish = Wish { since, max_publications: 1000, ..wish() };
    join_all(
        ears.iter().map(async |ear| stage.relay.join(&channel, namespace, &wish, &ear.outbox).await.expect("joins")),
    )
    .await
}

#[tokio::test]
async fn no_more_recoveries_read_or_wait_at_a_time_than_may() {
    let stage = Stage::bounded([namespaces::open("chat", Some(500))], Turnstile::new(1, 1, PATIENCE));
    let names = ["chat:a", "chat:b", "chat:c"];
    let mut positions = Vec::new();
    for name in names {
        positions.push(stage.publish(name, [0]).await.expect("stored"));
        stage.publish(name, [1]).await;
    }
    stage.faults.history_held.send_replace(true);
    let ears = names.map(|_| Ear::new());
    let joins = names.iter().zip(&positions).zip(&ears).map(async |((name, at), ear)| {
        let channel = channel_of(name);
        let namespace = stage.namespaces.of(&channel).expect("a namespace of the stage");
        let since = Some(Since { offset: at.offset, epoch: at.epoch.as_str().to_owned() });
        stage.relay.join(&channel, namespace, &Wish { since, ..wish() }, &ear.outbox).await
    });
    let (joined, ()) = tokio::join!(join_all(joins), release(&stage));
    let turned_away = joined.iter().filter(|joined| matches!(joined, Err(JoinError::Busy(_)))).count();
    let whole = joined.iter().flatten().filter(|joined| recovered(joined) == Ok(vec![1])).count();
    assert_eq!((whole, turned_away), (2, 1));
    assert!(stage.telemetry.render().contains("midplane_queue_overflows_total{queue=\"recovery\"} 1"));
    // Who was turned away comes again, and gets it.
    let missed = joined.iter().position(Result::is_err).expect("one was turned away");
    let again = stage.join(&ears[missed], names[missed], Some(&positions[missed])).await;
    assert_eq!(recovered(&again), Ok(vec![1]));
}

#[tokio::test]
async fn readers_of_whole_histories_took_no_turn() {
    let stage = Stage::bounded([namespaces::open("chat", Some(500))], Turnstile::new(1, 0, PATIENCE));
    stage.publish("chat:a", [0]).await.expect("stored");
    stage.faults.history_held.send_replace(true);
    let channel = channel_of("chat:a");
    let namespace = stage.namespaces.of(&channel).expect("a namespace of the stage");
    let query = HistoryQuery::default();
    let mut reads: FuturesUnordered<_> = (0..2).map(|_| stage.relay.history(&channel, namespace, &query)).collect();
    let first = reads.next().await.expect("one is over");
    assert!(matches!(first, Err(HistoryQueryError::Busy(_))), "{first:?}");
    stage.faults.history_held.send_replace(false);
    let second = reads.next().await.expect("the other").expect("it is read");
    assert_eq!(second.publications.len(), 1);
}
