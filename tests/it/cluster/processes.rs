//! Whole nodes, as processes: killed, hung and resumed.

use midplane::cluster::State::{Failed, Left, Up};

use super::{Fellow, REJOINS, VERDICTS, agree, counted, heartbeats};
use crate::support::eventually;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;
use crate::support::process::Process;

fn options(server: &NatsServer) -> Vec<(&'static str, String)> {
    vec![
        ("NATS_URL", server.url().to_string()),
        ("HEARTBEAT_INTERVAL", "100".to_owned()),
        ("FAILURE_DETECTION_TIMEOUT", "1000".to_owned()),
    ]
}

#[tokio::test]
async fn a_process_that_is_killed_is_dead_and_one_that_is_stopped_has_left() {
    let server = NatsServer::start().await;
    let ada = Fellow::join(&nats([server.url()], 1), "ada").await;
    let mut bob = Process::start("bob", &options(&server)).await;
    let mut cy = Process::start("cy", &options(&server)).await;
    agree(&[&ada], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    heartbeats(&ada, 60).await;
    bob.kill();
    cy.signal("TERM");
    agree(&[&ada], &[("ada", Up), ("bob", Failed), ("cy", Left)]).await;
    assert_eq!(cy.ended().await, Some(0));
}

#[tokio::test]
async fn a_process_that_hung_joins_anew_and_blames_nobody() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Fellow::join(&settings, "ada").await;
    let bob = Fellow::join(&settings, "bob").await;
    let cy = Process::start("cy", &options(&server)).await;
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    heartbeats(&ada, 60).await;
    cy.signal("STOP");
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up), ("cy", Failed)]).await;
    heartbeats(&ada, 20).await;
    cy.signal("CONT");
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    heartbeats(&ada, 60).await;
    let metrics = eventually("it tells its metrics", async || cy.metrics().await).await;
    assert_eq!((counted(&metrics, VERDICTS), counted(&metrics, REJOINS)), (0, 1), "{metrics}");
    assert_eq!(counted(&metrics, "midplane_cluster_nodes{state=\"up\"}"), 3);
    assert_eq!((ada.counted(REJOINS), bob.counted(REJOINS)), (0, 0));
}

#[tokio::test]
async fn a_process_whose_name_is_taken_ends() {
    let server = NatsServer::start().await;
    let mut first = Process::start("ada", &options(&server)).await;
    let _second = Process::start("ada", &options(&server)).await;
    assert_eq!(first.ended().await, Some(79), "a code by which process managers know not to start it again");
    let log = first.log();
    assert!(log.contains("SERVER_ID"), "{log}");
}

#[tokio::test]
async fn rubbish_among_nodes_is_counted_and_told_a_few_times() {
    const WORDS: u64 = 500;
    let server = NatsServer::start().await;
    let ada = Process::start("ada", &options(&server)).await;
    let publisher = async_nats::connect(server.url().as_str()).await.unwrap();
    let topics = ["hb.nobody", "control", "ask", "answer.ada", "watch"];
    for subject in topics {
        for _ in 0..WORDS / topics.len() as u64 {
            publisher.publish(format!("midplane.{subject}"), "rubbish".into()).await.unwrap();
        }
    }
    publisher.flush().await.unwrap();
    eventually("all of it is counted", async || {
        let metrics = ada.metrics().await?;
        let counted: u64 = ["heartbeat", "control", "question", "answer", "watch"]
            .iter()
            .map(|topic| counted(&metrics, &format!("midplane_cluster_malformed_total{{topic=\"{topic}\"}}")))
            .sum();
        (counted == WORDS).then_some(())
    })
    .await;
    let lines = ada.log().lines().filter(|line| line.contains("could not be parsed")).count();
    assert!((1..10).contains(&lines), "{lines} lines:\n{}", ada.log());
}

#[tokio::test]
async fn an_outage_is_told_once_however_often_what_needs_nats_is_tried_meanwhile() {
    let mut server = NatsServer::start().await;
    let ada = Process::start("ada", &options(&server)).await;
    server.kill();
    let lines = |word: &str| ada.log().lines().filter(|line| line.contains(word)).count();
    eventually("the outage is told", async || (lines("backplane lost") == 1).then_some(())).await;
    eventually("rounds of trying go by", async || ada.get("/ready").await.filter(|answer| answer.contains(" 503 ")))
        .await;
    server.restart().await;
    eventually("it is over", async || (lines("backplane restored") == 1).then_some(())).await;
    assert_eq!(lines("cannot be checked"), 0, "{}", ada.log());
    assert_eq!(lines("backplane lost"), 1, "{}", ada.log());
}
