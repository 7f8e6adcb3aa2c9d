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
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy", "dan"].map(|name| Fellow::join(&settings, name))).await;
    let all: Vec<_> = fellows.iter().collect();
    agree(&all, &[("ada", Up), ("bob", Up), ("cy", Up), ("dan", Up)]).await;
    // Those who have just begun give everybody time.
    heartbeats(all[1], 55).await;
    let graces = || all[1..].iter().map(|fellow| fellow.counted("midplane_cluster_graces_total")).sum::<u64>();
    let (died, before) = (sent(&all[1..]), graces());
    all[0].die().await;
    agree(&all[1..], &[("ada", Failed), ("bob", Up), ("cy", Up), ("dan", Up)]).await;
    let took = sent(&all[1..]) - died;
    // On a machine that is busy nodes do not hear even themselves for a while, and wait longer with a verdict.
    let at_most = (TIMEOUT * 2).div_duration_f64(INTERVAL) as u64;
    assert!(took < at_most || graces() > before, "noticed after {took} heartbeats");
    let dead = all[0].id();
    eventually("it is reaped", async || all.iter().any(|fellow| fellow.reaped() == [dead.clone()]).then_some(())).await;
    heartbeats(all[1], 20).await;
    let reaped: usize = all[1..].iter().map(|fellow| fellow.reaped().len()).sum();
    let verdicts: u64 = all[1..].iter().map(|fellow| fellow.counted(VERDICTS)).sum();
    assert_eq!((reaped, verdicts), (1, 1));
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
