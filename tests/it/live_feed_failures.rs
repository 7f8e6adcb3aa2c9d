//! The live connection survives servers that die, hang, leave or talk nonsense.

use std::time::Duration;

use midplane::backplane::nats::live::{ConnectError, LiveEvent, LiveOptions, LiveState, LiveSubscribeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::support::live::{Ear, options, say};
use crate::support::nats_server::{NatsCluster, NatsServer};

#[tokio::test]
async fn a_subscription_made_while_the_server_is_away_waits_for_it_or_says_that_it_did_not_come() {
    let mut server = NatsServer::start().await;
    let patience = Duration::from_millis(300);
    let hasty = LiveOptions { connect_timeout: patience, ..options(&[server.url()]) };
    let hasty = Ear::with(hasty, 8).await.unwrap();
    let mut patient = Ear::on(&server.url()).await;
    server.kill();
    hasty.live.state().wait_for(|state| matches!(state, LiveState::Disconnected { .. })).await.unwrap();
    match hasty.live.subscribe("room").await {
        Err(LiveSubscribeError::Unavailable { why, .. }) => assert!(why.contains("not connected"), "{why}"),
        other => panic!("{other:?}"),
    }
    patient.live.state().wait_for(|state| matches!(state, LiveState::Disconnected { .. })).await.unwrap();
    let (subscribed, ()) = tokio::join!(patient.live.subscribe("room"), server.restart());
    subscribed.unwrap();
    patient.lost_and_back().await;
    say(&server.url(), "room", "hello").await;
    assert_eq!(patient.heard().await.1, "hello");
}

#[tokio::test]
async fn a_hung_server_is_given_up_after_two_unanswered_pings() {
    let server = NatsServer::start().await;
    let quick = LiveOptions { ping_interval: Duration::from_millis(100), ..options(&[server.url()]) };
    let mut ear = Ear::with(quick, 8).await.unwrap();
    ear.live.subscribe("room").await.unwrap();
    server.pause().await;
    match ear.next().await {
        LiveEvent::Disconnected { why } => assert!(why.contains("pings unanswered"), "{why}"),
        other => panic!("{other:?}"),
    }
    server.resume();
    assert!(matches!(ear.next().await, LiveEvent::Connected { .. }));
}

#[tokio::test]
async fn in_a_cluster_it_moves_when_its_server_dies_or_is_about_to_stop() {
    let mut cluster = NatsCluster::start().await;
    // It knows one server only; the others it learns.
    let mut ear = Ear::on(&cluster.servers[0].url()).await;
    ear.live.subscribe("room").await.unwrap();
    let knows_all =
        |state: &LiveState| matches!(state, LiveState::Connected { info, .. } if info.connect_urls.len() == 3);
    ear.live.state().wait_for(knows_all).await.unwrap();

    cluster.servers[0].kill();
    let (_, second) = ear.lost_and_back().await;
    let at = |address: &str, cluster: &NatsCluster| {
        cluster.urls().iter().position(|url| url.as_str() == address).expect("is one of the cluster")
    };
    let index = at(&second, &cluster);
    assert_ne!(index, 0);

    cluster.servers[index].enter_lame_duck_mode();
    let (why, third) = ear.lost_and_back().await;
    assert!(why.contains("lame duck"), "{why}");
    let index = at(&third, &cluster);
    assert_ne!(third, second);

    say(&cluster.servers[index].url(), "room", "hello").await;
    assert_eq!(ear.heard().await.1, "hello");
}

/// A server of lies: takes one connection after the other and says `greeting`, then `rest` once CONNECT came.
async fn liar(greeting: &'static str, rest: &'static [u8]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("nats://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = lie(&mut socket, greeting, rest).await;
        }
    });
    url
}

async fn lie(socket: &mut TcpStream, greeting: &str, rest: &[u8]) -> std::io::Result<()> {
    socket.write_all(greeting.as_bytes()).await?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"PING\r\n") {
        if socket.read_buf(&mut heard).await? == 0 {
            return Ok(());
        }
    }
    socket.write_all(rest).await?;
    // Keeps the connection until the other side has had enough.
    while socket.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

const INFO: &str = "INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":1048576}\r\n";

#[tokio::test]
async fn rubbish_ends_the_connection_with_its_reason_and_is_tried_again() {
    for (rest, reason) in [
        (&b"PONG\r\nHTTP/1.1 400 Bad Request\r\n"[..], "unknown operation"),
        (b"PONG\r\nMSG room 1 99999999999\r\n", "message of 99999999999 bytes"),
        (b"PONG\r\nHMSG room 1 9 3\r\n", "bad arguments"),
        (b"PONG\r\nMSG room 1 2\r\nlong\r\n", "longer than it says"),
        (b"PONG\r\nMSG \xff\xfe \x00 1\r\n", "bad arguments"),
        (b"PONG\r\nPONG\r\nPONG\r\nINFO nonsense\r\n-ERR\r\n\r\n", "unknown operation"),
    ] {
        let mut ear = Ear::on(&liar(INFO, rest).await).await;
        for _ in 0..2 {
            match ear.next().await {
                LiveEvent::Disconnected { why } => assert!(why.contains(reason), "{why}"),
                // The first PONG of the next connection is taken for the answer to its restored subscriptions.
                LiveEvent::Connected { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_first_connection_that_cannot_be_made_says_why() {
    let start = async |url: Url| {
        let quick = LiveOptions { connect_timeout: Duration::from_millis(500), ..options(&[url]) };
        Ear::with(quick, 8).await.map(drop).expect_err("is refused")
    };
    assert!(matches!(start(liar("220 smtp.example.org\r\n", b"").await).await, ConnectError::Protocol { .. }));
    assert!(matches!(start(liar("INFO {\"headers\":false}\r\n", b"").await).await, ConnectError::Protocol { .. }));
    assert!(matches!(start(liar("INFO nonsense\r\n", b"").await).await, ConnectError::Protocol { .. }));
    assert!(matches!(start(liar("", b"").await).await, ConnectError::Timeout { .. }));
    let error = start(liar(INFO, b"-ERR 'maximum connections exceeded'\r\n").await).await;
    assert!(error.to_string().contains("maximum connections exceeded"), "{error}");
    assert!(matches!(start("nats://127.0.0.1:1".parse().unwrap()).await, ConnectError::Unreachable { .. }));

    let urls = ["nats://127.0.0.1:1".parse().unwrap(), liar("nonsense\r\n", b"").await];
    let error = Ear::with(options(&urls), 8).await.map(drop).expect_err("neither works");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1 is unreachable") && text.contains("does not speak NATS"), "{text}");
}
