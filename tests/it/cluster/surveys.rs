//! All nodes are asked at once, and all answer, or it is said who does not.

use std::sync::Arc;

use futures_util::future::join_all;
use midplane::backplane::embedded::Embedded;
use midplane::backplane::{Backplane, Bucket, Guard, Registry, feed};
use midplane::cluster::State::{Left, Up};
use midplane::cluster::{Entry, State, SurveyError};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Fellow, Reaper, agree};
use crate::support::eventually;
use crate::support::namespaces::registry;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;
use crate::support::node::{Node, Socket};

fn times(times: usize) -> Box<RawValue> {
    RawValue::from_string(times.to_string()).unwrap()
}

#[tokio::test]
async fn every_node_answers_in_as_many_parts_as_it_takes() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    agree(&fellows.iter().collect::<Vec<_>>(), &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    let surveys = (0..20).map(|n| async move { n });
    let numbers = join_all(surveys).await;
    let answers = join_all(numbers.iter().map(async |n| fellows[n % 3].cluster.ask("name", &times(n + 1)).await)).await;
    for (n, answers) in numbers.into_iter().zip(answers) {
        let answers = answers.unwrap();
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["ada", "bob", "cy"]);
        for (name, parts) in answers {
            let parts: Vec<_> = parts.iter().map(|part| part.get().to_owned()).collect();
            assert_eq!(parts, vec![format!("\"{name}\""); n + 1]);
        }
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    agree(&fellows.iter().collect::<Vec<_>>(), &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    let refused = fellows[0].cluster.ask("riddle", &times(1)).await.unwrap_err();
    assert!(matches!(refused, SurveyError::NotUnderstood(_)), "{refused}");
    fellows[1].die().await;
    let asked = Instant::now();
    match fellows[0].cluster.ask("name", &times(1)).await {
        Err(SurveyError::Silent(nodes)) => assert_eq!(nodes, ["bob"]),
        // It was declared dead meanwhile.
        other => assert!(other.is_ok() && asked.elapsed().as_millis() > 100, "{other:?}"),
    }
}

#[tokio::test]
async fn answers_that_come_faster_than_they_are_taken_are_counted_and_said_to_be_a_part() {
    let (sender, _feeds) = feed::open(1);
    let embedded: Arc<dyn Backplane> = Embedded::new(&registry([]), 1 << 20, sender);
    let ada = Fellow::on(embedded, "ada", Reaper::default()).await;
    let question = times(2000);
    let mut asking = Box::pin(ada.cluster.ask("name", &question));
    // It has asked, and takes nothing as long as nobody polls it.
    assert!(futures_util::poll!(&mut asking).is_pending());
    eventually("a part of the answer finds no room", async || {
        (ada.counted("midplane_queue_overflows_total{queue=\"survey\"}") > 0).then_some(())
    })
    .await;
    assert_eq!(asking.await.unwrap_err(), SurveyError::Partial);
    assert_eq!(ada.counted("midplane_surveys_total{result=\"partial\"}"), 1);
    assert!(ada.cluster.ask("name", &times(1)).await.is_ok(), "the next one is another");
}

/// Writes the entry of a node that is nothing else.
async fn enter(registry: &dyn Registry, name: &str, state: State) {
    let entry = Entry {
        name: name.to_owned(),
        incarnation: 1,
        process: format!("process of {name}"),
        address: String::new(),
        version: String::new(),
        capacity: None,
        joined_at: 0,
        state,
        debts: Vec::new(),
    };
    registry.put(name, serde_json::to_vec(&entry).unwrap().into(), Guard::Any, None).await.unwrap();
}

#[tokio::test]
async fn who_joins_while_a_question_is_asked_is_not_waited_for_nor_is_who_dies() {
    let (sender, _feeds) = feed::open(1);
    let embedded: Arc<dyn Backplane> = Embedded::new(&registry([]), 1 << 20, sender);
    let ada = Fellow::on(embedded, "ada", Reaper::default()).await;
    let registry = ada.backplane.registry(Bucket::Nodes);
    eventually("ada answers, and nobody else had to", async || {
        enter(registry, "cy", Left).await;
        enter(registry, "bob", Up).await;
        agree(&[&ada], &[("ada", Up), ("bob", Up), ("cy", Left)]).await;
        let question = times(1);
        let meanwhile = async {
            enter(registry, "cy", Up).await;
            agree(&[&ada], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
            enter(registry, "bob", Left).await;
        };
        match tokio::join!(ada.cluster.ask("name", &question), meanwhile).0 {
            Ok(answers) => {
                assert_eq!(answers.keys().collect::<Vec<_>>(), ["ada"]);
                Some(())
            }
            // The machine was too slow to let bob leave in time.
            Err(SurveyError::Silent(nodes)) => {
                assert!(!nodes.contains(&"cy".to_owned()), "cy was not asked");
                None
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await;
}

/// A client of `node` that listens to `channel`.
async fn listener(node: &Node, channel: &str) -> Socket {
    let mut socket = node.socket().await;
    let connect = json!({"id": 1, "connect": {"name": "test", "version": "7"}});
    assert!(socket.ask(connect).await["connect"]["client"].is_string());
    let subscribed = socket.ask(json!({"id": 2, "subscribe": {"channel": channel}})).await;
    assert!(subscribed["subscribe"].is_object(), "{subscribed}");
    socket
}

#[tokio::test]
async fn a_backend_that_asks_one_node_hears_of_the_clients_of_all() {
    let server = NatsServer::start().await;
    let node = async |name: &str| {
        let toml = format!("nats.servers = [\"{}\"]\nnode.name = \"{name}\"\n", server.url());
        Node::start(&toml).await
    };
    let (ada, bob) = (node("ada").await, node("bob").await);
    let client = async_nats::connect(server.url().as_str()).await.unwrap();
    let ask = async |method: &str, params: Value| {
        let answer = client.request(format!("midplane.api.{method}"), params.to_string().into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        answer.get("result").cloned()
    };
    let _listeners =
        [listener(&ada, "chat:room").await, listener(&bob, "chat:room").await, listener(&bob, "chat:hall").await];
    // Either node may answer, and know the other for a moment only.
    eventually("all listeners are counted", async || {
        let channels = ask("channels", json!({"pattern": "chat:*"})).await?;
        let expected = json!({"channels": {"chat:hall": {"num_clients": 1}, "chat:room": {"num_clients": 2}}});
        (channels == expected).then_some(())
    })
    .await;
    let connections = eventually("all connections are told", async || {
        let connections = ask("connections", json!({"user": ""})).await?;
        connections["connections"].as_object().cloned().filter(|connections| connections.len() == 3)
    })
    .await;
    for connection in connections.values() {
        assert_eq!((&connection["app_name"], &connection["app_version"]), (&json!("test"), &json!("7")));
        assert_eq!((&connection["transport"], &connection["protocol"]), (&json!("websocket"), &json!("json")));
        assert_eq!(connection["state"]["channels"].as_object().unwrap().len(), 1);
        assert!(connection["connected_at_ms"].as_u64().unwrap() > 1_600_000_000_000);
    }
    eventually("both nodes tell of themselves", async || {
        let info = ask("info", json!({})).await?;
        let clients = info["nodes"].as_array()?.iter().map(|node| node["num_clients"].as_u64().unwrap_or(0));
        (clients.collect::<Vec<_>>() == [1, 2]).then_some(())
    })
    .await;
    ada.stop().await;
    bob.stop().await;
}
