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
    assert_eq!(first.ended().await, Some(1));
    let log = first.log();
    assert!(log.contains("SERVER_ID"), "{log}");
}
