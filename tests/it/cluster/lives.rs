//! Joining, draining, leaving, returning.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use midplane::backplane::embedded::Embedded;
use midplane::backplane::faults::{Faults, Faulty};
use midplane::backplane::{Backplane, Bucket, Guard, feed};
use midplane::cluster::{Debt, Entry, State};
use midplane::settings;
use serde_json::json;

use super::{Fellow, REJOINS, Reaper, VERDICTS, agree, heartbeats};
use crate::support::eventually;
use crate::support::member::Member;
use crate::support::namespaces::registry;
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::{connect, nats};

use State::{Draining, Failed, Left, Up};

#[tokio::test]
async fn all_nodes_agree_on_who_is_there() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Fellow::join(&settings, "ada").await;
    let bob = Fellow::join(&settings, "bob").await;
    let cy = Fellow::join(&settings, "cy").await;
    agree(&[&ada, &bob, &cy], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    bob.cluster.drain();
    agree(&[&ada, &bob, &cy], &[("ada", Up), ("bob", Draining), ("cy", Up)]).await;
    bob.leave().await;
    agree(&[&ada, &cy], &[("ada", Up), ("bob", Left), ("cy", Up)]).await;
    assert_eq!(bob.reaped(), [bob.id()], "it cleans up after itself");
    assert_eq!(ada.counted("midplane_cluster_nodes{state=\"left\"}"), 1);
    assert_eq!(ada.counted("midplane_cluster_nodes{state=\"up\"}"), 2);
    heartbeats(&ada, 20).await;
    assert!(ada.reaped().is_empty() && cy.reaped().is_empty());
}

/// A member that cannot read the list of nodes again once it has joined: what it learns it is told.
async fn told(settings: &settings::Nats, name: &str) -> Fellow {
    let (sender, feeds) = feed::open(1);
    let inner = connect(settings, &registry([]), sender).await.unwrap();
    let faults = Arc::new(Faults::default());
    let (backplane, feeds) = Faulty::around(inner, feeds, Arc::clone(&faults));
    let fellow = Fellow::on(Member::around(backplane, feeds).backplane, name, Reaper::default()).await;
    faults.lists_failing.store(usize::MAX, Ordering::SeqCst);
    fellow
}

/// Every change is written once, and told to all with that write: no node learns of it by looking again now and then.
#[tokio::test]
async fn every_change_of_a_node_is_told_to_all_others_as_it_is_written() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (ada, bob) = (told(&settings, "ada").await, told(&settings, "bob").await);
    let cy = told(&settings, "cy").await;
    agree(&[&ada, &bob, &cy], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    cy.cluster.drain();
    agree(&[&ada, &bob, &cy], &[("ada", Up), ("bob", Up), ("cy", Draining)]).await;
    cy.leave().await;
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up), ("cy", Left)]).await;
    let dan = told(&settings, "dan").await;
    agree(&[&ada, &bob, &dan], &[("ada", Up), ("bob", Up), ("cy", Left), ("dan", Up)]).await;
    bob.die().await;
    agree(&[&ada, &dan], &[("ada", Up), ("bob", Failed), ("cy", Left), ("dan", Up)]).await;
    let back = told(&settings, "bob").await;
    agree(&[&ada, &back, &dan], &[("ada", Up), ("bob", Up), ("cy", Left), ("dan", Up)]).await;
    for fellow in [&ada, &back, &dan] {
        let nodes =
            ["up", "draining", "failed", "left"].map(|state| format!("midplane_cluster_nodes{{state=\"{state}\"}}"));
        assert_eq!(nodes.map(|series| fellow.counted(&series)), [3, 0, 0, 1], "{}", fellow.name);
    }
}

#[tokio::test]
async fn an_election_that_begins_while_a_node_joins_does_not_end_it() {
    let (sender, feeds) = feed::open(1);
    let inner = Embedded::new(&registry([]), 1 << 20, sender);
    let faults = Arc::new(Faults::default());
    faults.lists_failing.store(3, Ordering::SeqCst);
    let (backplane, _feeds) = Faulty::around(inner, feeds, Arc::clone(&faults));
    let ada = Fellow::on(backplane, "ada", Reaper::default()).await;
    assert_eq!(ada.sees(), [("ada".to_owned(), Up)]);
    assert_eq!(faults.lists_failing.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_backplane_that_goes_away_while_a_node_joins_does_not_end_it() {
    let (sender, feeds) = feed::open(1);
    let inner = Embedded::new(&registry([]), 1 << 20, sender);
    let faults = Arc::new(Faults::default());
    faults.watches_failing.store(3, Ordering::SeqCst);
    let (backplane, _feeds) = Faulty::around(inner, feeds, Arc::clone(&faults));
    Fellow::on(backplane, "ada", Reaper::default()).await;
    assert_eq!(faults.watches_failing.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_node_knows_the_load_of_the_others() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Fellow::join(&settings, "ada").await;
    let _bob = Fellow::join(&settings, "bob").await;
    let bob = eventually("bob's load is known", async || {
        ada.cluster.members().into_iter().find(|member| member.entry.name == "bob" && member.load.is_some())
    })
    .await;
    assert_eq!((bob.entry.version.as_str(), bob.entry.capacity), ("1.2.3", Some(10)));
    let load = bob.load.unwrap();
    assert!(load.work.clients == 7 && load.memory > 1 << 20, "{load:?}");
}

#[tokio::test]
async fn a_node_that_returns_under_its_name_is_another_life_and_its_last_one_is_reaped_at_once() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Fellow::join(&settings, "ada").await;
    let first = Fellow::join(&settings, "bob").await;
    agree(&[&ada], &[("ada", Up), ("bob", Up)]).await;
    first.die().await;
    let second = Fellow::join(&settings, "bob").await;
    assert_ne!(first.id(), second.id());
    eventually("its last life is reaped", async || (second.reaped() == [first.id()]).then_some(())).await;
    agree(&[&ada, &second], &[("ada", Up), ("bob", Up)]).await;
    assert!(ada.reaped().is_empty());
}

#[tokio::test]
async fn the_older_of_two_processes_with_one_name_is_fenced() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let older = Fellow::join(&settings, "ada").await;
    let newer = Fellow::join(&settings, "ada").await;
    let fenced = older.cluster.fenced();
    tokio::time::timeout(Duration::from_secs(30), fenced.cancelled()).await.expect("it is fenced");
    older.leave().await;
    heartbeats(&newer, 20).await;
    assert!(!newer.cluster.fenced().is_cancelled());
    agree(&[&newer], &[("ada", Up)]).await;
}

#[tokio::test]
async fn a_node_that_was_declared_dead_goes_on_as_another_life() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Fellow::join(&settings, "ada").await;
    let bob = Fellow::join(&settings, "bob").await;
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up)]).await;
    let first = bob.id();
    let mut incarnation = bob.cluster.incarnation();
    let registry = ada.backplane.registry(Bucket::Nodes);
    loop {
        let found = registry.get("bob").await.unwrap().unwrap();
        let mut entry: Entry = serde_json::from_slice(&found.value).unwrap();
        entry.state = State::Failed;
        entry.debts.push(Debt { incarnation: entry.incarnation, reaper: Some(ada.id()) });
        let value = serde_json::to_vec(&entry).unwrap();
        if registry.put("bob", value.into(), Guard::Revision(found.revision), None).await.is_ok() {
            break;
        }
    }
    incarnation.wait_for(|id| **id != *first).await.unwrap();
    // Whoever declared it dead may have done so before the last of what it wrote was there.
    eventually("it reaps its first life itself", async || (bob.reaped() == [first.clone()]).then_some(())).await;
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up)]).await;
    assert_eq!(bob.counted(REJOINS), 1);
    assert!(ada.reaped().iter().all(|life| *life == first), "{:?}", ada.reaped());
}

#[tokio::test]
async fn a_change_that_no_watch_told_is_found_all_the_same() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let ada = Fellow::join(&settings, "ada").await;
    let bob = Fellow::join(&settings, "bob").await;
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up)]).await;
    // Somebody takes away what changes are told by.
    let operator = async_nats::connect(server.url().as_str()).await.unwrap();
    let ask = async |verb: &str, question: serde_json::Value| {
        let subject = format!("$JS.API.STREAM.{verb}.KV_midplane_nodes");
        let answer = operator.request(subject, question.to_string().into()).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap()
    };
    let mut config = ask("INFO", json!({})).await["config"].clone();
    config.as_object_mut().unwrap().remove("republish");
    assert!(ask("UPDATE", config).await.get("error").is_none());
    bob.cluster.drain();
    agree(&[&ada], &[("ada", Up), ("bob", Draining)]).await;
    let _cy = Fellow::join(&settings, "cy").await;
    agree(&[&ada], &[("ada", Up), ("bob", Draining), ("cy", Up)]).await;
}

#[tokio::test]
async fn a_node_without_a_cluster_is_a_member_of_its_own() {
    let (sender, _) = feed::open(1);
    let embedded: Arc<dyn Backplane> = Embedded::new(&registry([]), 1 << 20, sender);
    let ada = Fellow::on(embedded, "ada", Reaper::default()).await;
    agree(&[&ada], &[("ada", Up)]).await;
    heartbeats(&ada, 20).await;
    ada.cluster.drain();
    agree(&[&ada], &[("ada", Draining)]).await;
    ada.leave().await;
}

#[tokio::test]
async fn nodes_whose_bucket_was_deleted_enter_it_again_and_nobody_is_taken_for_dead() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let (ada, bob) = (Fellow::join(&settings, "ada").await, Fellow::join(&settings, "bob").await);
    agree(&[&ada, &bob], &[("ada", Up), ("bob", Up)]).await;
    let operator = async_nats::connect(server.url().as_str()).await.unwrap();
    operator.request("$JS.API.STREAM.DELETE.KV_midplane_nodes", "".into()).await.unwrap();
    eventually("both have joined anew", async || {
        (ada.counted(REJOINS) == 1 && bob.counted(REJOINS) == 1).then_some(())
    })
    .await;
    let cy = Fellow::join(&settings, "cy").await;
    agree(&[&ada, &bob, &cy], &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    heartbeats(&ada, 20).await;
    for fellow in [&ada, &bob, &cy] {
        assert_eq!(fellow.counted(VERDICTS), 0, "{}", fellow.name);
        assert!(!fellow.reaped().contains(&ada.id()) && !fellow.reaped().contains(&bob.id()), "{:?}", fellow.reaped());
    }
}
