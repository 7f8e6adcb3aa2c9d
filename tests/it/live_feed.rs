//! The live connection hands on everything in order, tells what it lost, and never throws anything away.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use midplane::backplane::nats::live::{Headers, LiveEvent, LiveState, LiveSubscribeError};

use crate::support::eventually;
use crate::support::live::{Ear, options, publisher};
use crate::support::nats_server::NatsServer;

/// How many subscriptions the server holds for the ear.
async fn subscriptions(server: &NatsServer) -> Option<u64> {
    let page: serde_json::Value = serde_json::from_str(&server.monitor("/connz").await?).unwrap();
    let connections = page["connections"].as_array()?;
    connections.iter().find(|connection| connection["name"] == "ear")?["subscriptions"].as_u64()
}

#[tokio::test]
async fn messages_come_with_their_headers_and_subscription() {
    let server = NatsServer::start().await;
    let mut ear = Ear::on(&server.url()).await;
    assert_eq!(ear.live.server_info().expect("is connected").server_name, "single");
    let first = ear.live.subscribe("room.*").await.unwrap();
    let publisher = publisher(&server.url()).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.append("Key", "one");
    headers.append("Key", "two");
    publisher.publish_with_headers("room.a", headers, "hello".into()).await.unwrap();
    publisher.publish("room.b", "".into()).await.unwrap();
    match ear.next().await {
        LiveEvent::Message { sid, subject, headers, payload } => {
            assert_eq!((sid, &*subject, &*payload), (first, &b"room.a"[..], &b"hello"[..]));
            assert_eq!(Headers::new(&headers).last("Key"), Some("two"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ear.heard().await, ("room.b".to_owned(), String::new()));

    ear.live.unsubscribe(first);
    let second = ear.live.subscribe("room.c").await.unwrap();
    publisher.publish("room.a", "nobody hears this".into()).await.unwrap();
    publisher.publish("room.c", "but this".into()).await.unwrap();
    assert_eq!(ear.heard().await.1, "but this");
    assert!(second > first);

    ear.live.close().await;
    assert_eq!(*ear.live.state().borrow(), LiveState::Closed);
    assert!(ear.events.recv().await.is_none());
    assert!(matches!(ear.live.subscribe("room.d").await, Err(LiveSubscribeError::Unavailable { .. })));
    eventually("the server has let it go", async || subscriptions(&server).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn ten_thousand_subscriptions_are_back_after_a_crash_except_those_that_were_left() {
    let mut server = NatsServer::start().await;
    let mut ear = Ear::on(&server.url()).await;
    let subjects: Vec<String> = (0..10_000).map(|number| format!("room.{number}")).collect();
    let sids = join_all(subjects.iter().map(|subject| ear.live.subscribe(subject))).await;
    let mut expected: HashMap<String, _> = subjects.iter().cloned().zip(sids.into_iter().map(Result::unwrap)).collect();
    assert_eq!(subscriptions(&server).await, Some(10_000));

    server.kill();
    ear.live.state().wait_for(|state| matches!(state, LiveState::Disconnected { .. })).await.unwrap();
    for subject in &subjects[..1_000] {
        ear.live.unsubscribe(expected.remove(subject).unwrap());
    }
    server.restart().await;
    let (_, back) = ear.lost_and_back().await;
    assert_eq!(back, server.url().as_str());
    assert_eq!(subscriptions(&server).await, Some(9_000));

    let publisher = publisher(&server.url()).await;
    for subject in &subjects {
        publisher.publish(subject.clone(), subject.clone().into()).await.unwrap();
    }
    let mut heard = HashSet::new();
    while heard.len() < 9_000 {
        match ear.next().await {
            LiveEvent::Message { sid, subject, payload, .. } => {
                assert_eq!(subject, payload);
                let subject = String::from_utf8(subject.to_vec()).unwrap();
                assert_eq!(expected.get(&subject), Some(&sid));
                assert!(heard.insert(subject));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_server_back_and_loses_nothing() {
    const MESSAGES: usize = 30_000;
    let server = NatsServer::start().await;
    let mut ear = Ear::with(options(&[server.url()]), 8).await.unwrap();
    ear.live.subscribe("flood").await.unwrap();
    let publisher = publisher(&server.url()).await;
    let filling = "x".repeat(1000);
    for number in 0..MESSAGES {
        publisher.publish("flood", format!("{number} {filling}").into()).await.unwrap();
    }
    publisher.flush().await.unwrap();
    eventually("bytes wait in the server", async || {
        let page: serde_json::Value = serde_json::from_str(&server.monitor("/connz").await?).unwrap();
        let connections = page["connections"].as_array()?;
        let pending = connections.iter().find(|connection| connection["name"] == "ear")?["pending_bytes"].as_u64()?;
        (pending > 1_000_000).then_some(())
    })
    .await;
    // Writing goes on meanwhile: the socket is not read, but a subscription is left.
    let idle = ear.live.new_sid();
    ear.live.unsubscribe(idle);
    for number in 0..MESSAGES {
        let (_, payload) = ear.heard().await;
        assert_eq!(payload.split_once(' ').unwrap().0.parse(), Ok(number));
    }
}

#[tokio::test]
async fn a_refused_subscription_is_told_and_its_neighbours_are_not_touched() {
    let config = |denied: &str| {
        format!(
            "authorization {{ users: [ {{ user: ear, password: p, permissions: {{ subscribe: {{ deny: [{denied}] }} }} }} ] }}"
        )
    };
    let mut server = NatsServer::with_config(&config("\"secret.>\"")).await;
    let url = format!("nats://ear:p@127.0.0.1:{}", server.port()).parse().unwrap();
    let mut ear = Ear::on(&url).await;
    let subjects: Vec<String> =
        (0..100).map(|number| format!("{}.{number}", if number % 7 == 0 { "secret" } else { "open" })).collect();
    let answers = join_all(subjects.iter().map(|subject| ear.live.subscribe(subject))).await;
    let mut sids = HashMap::new();
    for (subject, answer) in subjects.iter().zip(answers) {
        match answer {
            Ok(sid) => assert!(subject.starts_with("open") && sids.insert(subject.as_str(), sid).is_none()),
            Err(LiveSubscribeError::Refused { subject: named, why }) => {
                assert!(subject.starts_with("secret"));
                assert_eq!((&named, why), (subject, format!("Permissions Violation for Subscription to {subject:?}")));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(ear.live.subscribe("a..b").await, Err(LiveSubscribeError::Refused { .. })));

    // Taken away while it runs.
    server.configure(&config("\"secret.>\", \"open.1\""));
    server.reload();
    match ear.next().await {
        LiveEvent::Refused { sid, why } => {
            assert_eq!(sid, sids["open.1"]);
            assert!(why.contains("Permissions Violation"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    // Taken away while it is down: told before the connection counts as back.
    server.stop().await;
    server.configure(&config("\"secret.>\", \"open.2\""));
    server.restart().await;
    assert!(matches!(ear.next().await, LiveEvent::Disconnected { .. }));
    // What was given back meanwhile is there again.
    assert!(matches!(ear.next().await, LiveEvent::Granted { sid } if sid == sids["open.1"]));
    assert!(matches!(ear.next().await, LiveEvent::Refused { sid, .. } if sid == sids["open.2"]));
    assert!(matches!(ear.next().await, LiveEvent::Connected { .. }));
    assert_eq!(subscriptions(&server).await, Some(sids.len() as u64 - 1));
    assert_eq!(ear.live.taken_back().borrow().count, 1);
    // Given back while it runs.
    server.configure(&config("\"secret.>\""));
    server.reload();
    assert!(matches!(ear.next().await, LiveEvent::Granted { sid } if sid == sids["open.2"]));
    assert_eq!(subscriptions(&server).await, Some(sids.len() as u64));
    assert_eq!(ear.live.taken_back().borrow().count, 0);
}

#[tokio::test]
async fn who_stops_waiting_for_a_subscription_has_none() {
    let server = NatsServer::start().await;
    let ear = Ear::on(&server.url()).await;
    ear.live.subscribe("kept").await.unwrap();
    server.pause().await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), ear.live.subscribe("given.up")).await;
    assert!(given_up.is_err());
    server.resume();
    ear.live.subscribe("kept.too").await.unwrap();
    assert_eq!(subscriptions(&server).await, Some(2));
}

#[tokio::test]
async fn a_server_that_takes_no_more_subscriptions_is_told_by_those_it_did_not_take() {
    let server = NatsServer::with_config("max_subscriptions: 3\n").await;
    let ear = Ear::on(&server.url()).await;
    for subject in ["a", "b", "c"] {
        ear.live.subscribe(subject).await.unwrap();
    }
    match ear.live.subscribe("d").await {
        Err(LiveSubscribeError::Refused { why, .. }) => assert_eq!(why, "maximum subscriptions exceeded"),
        other => panic!("{other:?}"),
    }
}
