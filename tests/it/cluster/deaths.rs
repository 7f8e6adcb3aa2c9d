//! Who is dead is noticed, by all, and cleaned up after, once.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::Subscriber;
use futures_util::StreamExt;
use futures_util::future::join_all;
use midplane::cluster::State::{Failed, Up};
use serde_json::Value;
use tokio::time::timeout;

use super::{Fellow, Reaper, VERDICTS, agree, heartbeats};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;
use crate::support::{PATIENCE, eventually};

/// Waits for the verdict on `name` as it is told to all, and says how many heartbeats each of the others had sent at most since
/// the last sign of life: their own clock, in the order in which one server tells everything.
async fn heartbeats_before_the_verdict(told: &mut Subscriber, name: &str) -> u64 {
    let mut sent = BTreeMap::new();
    loop {
        let word = timeout(PATIENCE, told.next()).await.expect("a word in time").expect("the connection lasts");
        let said: Value = serde_json::from_slice(&word.payload).unwrap_or_default();
        match word.subject.strip_prefix("midplane.").and_then(|topic| topic.rsplit_once('.')) {
            Some(("registry.nodes", entry)) if entry == name && said["state"] == "failed" => {
                return sent.into_values().max().unwrap_or_default();
            }
            Some(("registry.nodes" | "hb", sign)) if sign == name => sent.clear(),
            Some(("hb", other)) => *sent.entry(other.to_owned()).or_default() += 1,
            Some(_) | None => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_noticed_by_all_in_time_and_reaped_by_one() {
    const NAMES: [&str; 5] = ["ada", "bob", "cy", "dan", "eve"];
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let join = async |name| Fellow::join_slow(&settings, name).await;
    let fellows = join_all(NAMES.map(join)).await;
    let all: Vec<_> = fellows.iter().collect();
    let states =
        |dead: usize| NAMES.iter().enumerate().map(move |(at, name)| (*name, if at < dead { Failed } else { Up }));
    agree(&all, &states(0).collect::<Vec<_>>()).await;
    let listener = async_nats::connect(server.url().as_str()).await.unwrap();
    let mut told = listener.subscribe("midplane.>").await.unwrap();
    listener.flush().await.unwrap();
    let graces = |left: &[&Fellow]| left.iter().map(|it| it.counted("midplane_cluster_graces_total")).sum::<u64>();
    let (mut dead, mut in_time) = (0, false);
    while !in_time {
        let before = graces(&all);
        all[dead].die().await;
        let took = heartbeats_before_the_verdict(&mut told, NAMES[dead]).await;
        dead += 1;
        in_time = took <= 10;
        // On a machine that is busy nodes do not hear even themselves for a while, and give everybody time anew: then another one dies.
        assert!(in_time || (dead < 3 && graces(&all) > before), "noticed after {took} heartbeats");
        agree(&all[dead..], &states(dead).collect::<Vec<_>>()).await;
    }
    let killed: BTreeSet<_> = all[..dead].iter().map(|fellow| fellow.id()).collect();
    let reaped = || all.iter().flat_map(|fellow| fellow.reaped()).collect::<Vec<_>>();
    eventually("they are reaped", async || (reaped().len() >= dead).then_some(())).await;
    heartbeats(all[4], 3).await;
    assert_eq!((reaped().len(), reaped().into_iter().collect()), (dead, killed), "each once");
    assert_eq!(all.iter().map(|fellow| fellow.counted(VERDICTS)).sum::<u64>(), dead as u64);
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
