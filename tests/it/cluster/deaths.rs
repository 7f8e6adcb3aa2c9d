//! Who is dead is noticed, by all, and cleaned up after, once.

use futures_util::future::join_all;
use midplane::cluster::State::{Failed, Up};

use super::{Fellow, INTERVAL, Reaper, TIMEOUT, VERDICTS, agree, heartbeats};
use crate::support::eventually;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

/// How many heartbeats each of them has sent: their own clock, which a busy machine slows down as it does them.
fn sent(fellows: &[&Fellow]) -> u64 {
    let each = fellows.iter().map(|fellow| fellow.counted("midplane_cluster_heartbeats_total{result=\"sent\"}"));
    each.max().unwrap_or_default()
}

#[tokio::test]
async fn a_node_that_dies_is_noticed_by_all_and_reaped_by_one() {
    const NAMES: [&str; 6] = ["ada", "bob", "cy", "dan", "eve", "fay"];
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(NAMES.map(|name| Fellow::join(&settings, name))).await;
    let all: Vec<_> = fellows.iter().collect();
    let states = |dead: usize| -> Vec<_> {
        NAMES.into_iter().enumerate().map(|(index, name)| (name, if index < dead { Failed } else { Up })).collect()
    };
    agree(&all, &states(0)).await;
    // Those who have just begun give everybody time.
    heartbeats(all[1], 55).await;
    let in_time = TIMEOUT.div_duration_f64(INTERVAL) as u64 + 2;
    let mut took = Vec::new();
    // On a busy machine nodes do not hear even themselves for a while, and wait longer with a verdict: then another one dies.
    while took.iter().all(|took| *took > in_time) {
        let dead = took.len();
        assert!(dead < 4, "noticed after {took:?} heartbeats");
        let left = &all[dead + 1..];
        let died = sent(left);
        all[dead].die().await;
        agree(left, &states(dead + 1)).await;
        took.push(sent(left) - died);
        let id = all[dead].id();
        eventually("it is reaped", async || left.iter().any(|fellow| fellow.reaped().contains(&id)).then_some(()))
            .await;
        heartbeats(left[0], 20).await;
    }
    let reaped: usize = all.iter().map(|fellow| fellow.reaped().len()).sum();
    let verdicts: u64 = all.iter().map(|fellow| fellow.counted(VERDICTS)).sum();
    assert_eq!((reaped, verdicts), (took.len(), took.len() as u64), "each once");
}

#[tokio::test]
async fn the_last_node_notices_that_it_is_alone() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    agree(&fellows.iter().collect::<Vec<_>>(), &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    fellows[0].die().await;
    fellows[1].die().await;
    agree(&[&fellows[2]], &[("ada", Failed), ("bob", Failed), ("cy", Up)]).await;
    eventually("both are reaped", async || (fellows[2].reaped().len() == 2).then_some(())).await;
}

#[tokio::test]
async fn what_a_dead_reaper_has_not_done_another_does() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let dead = Fellow::join(&settings, "ada").await;
    let hanging = Fellow::join_with(&settings, "bob", Reaper { hangs: true, ..Reaper::default() }).await;
    agree(&[&hanging], &[("ada", Up), ("bob", Up)]).await;
    dead.die().await;
    eventually("bob begins to reap", async || (hanging.reaped() == [dead.id()]).then_some(())).await;
    let third = Fellow::join(&settings, "cy").await;
    heartbeats(&third, 20).await;
    assert!(third.reaped().is_empty(), "bob is at it");
    hanging.die().await;
    eventually("cy does both", async || (third.reaped().len() == 2).then_some(())).await;
    let mut reaped = third.reaped();
    reaped.sort();
    assert_eq!(reaped, [dead.id(), hanging.id()]);
    agree(&[&third], &[("ada", Failed), ("bob", Failed), ("cy", Up)]).await;
}
