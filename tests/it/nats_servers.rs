//! The servers that other promises are tested with do what their names say.

use std::time::Duration;

use async_nats::jetstream::{self, stream};

use crate::support::eventually;
use crate::support::nats_server::{NatsCluster, NatsServer};

async fn jetstream(servers: Vec<url::Url>) -> jetstream::Context {
    let servers: Vec<async_nats::ServerAddr> =
        servers.into_iter().map(|url| async_nats::ServerAddr::from_url(url).unwrap()).collect();
    let client = async_nats::ConnectOptions::new().retry_on_initial_connect().connect(servers).await.unwrap();
    jetstream::new(client)
}

fn stream_of(replicas: usize) -> stream::Config {
    stream::Config {
        name: "kept".into(),
        subjects: vec!["kept.>".into()],
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_store_and_a_wiped_one_without() {
    let mut server = NatsServer::start().await;
    let port = server.port();
    let js = jetstream(vec![server.url()]).await;
    js.create_stream(stream_of(1)).await.unwrap();
    js.publish("kept.a", "one".into()).await.unwrap().await.unwrap();

    server.kill();
    assert!(server.monitor("/varz").await.is_none());
    server.restart().await;
    assert_eq!(server.port(), port);
    let info = eventually("the stream is there again", async || {
        let mut stream = js.get_stream("kept").await.ok()?;
        Some(stream.info().await.ok()?.state.clone())
    })
    .await;
    assert_eq!(info.messages, 1);

    server.stop().await;
    server.wipe_store();
    server.restart().await;
    eventually("the stream is gone", async || js.get_stream("kept").await.is_err().then_some(())).await;
    assert!(server.store().exists());
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_it_is_resumed() {
    let server = NatsServer::with_config("max_payload: 4096").await;
    server.pause().await;
    assert!(server.monitor("/varz").await.is_none());
    server.resume();
    let page = eventually("it answers", async || server.monitor("/varz").await).await;
    assert!(page.contains("\"max_payload\": 4096"));
}

#[tokio::test]
async fn a_cluster_stores_on_three_servers_and_survives_the_loss_of_its_leader() {
    let mut cluster = NatsCluster::start().await;
    let js = jetstream(cluster.urls()).await;
    let mut stream = js.create_stream(stream_of(3)).await.unwrap();
    let leader = stream.info().await.unwrap().cluster.as_ref().unwrap().leader.clone().unwrap();
    cluster.named(&leader).kill();
    eventually("another leader stores", async || {
        let acknowledged = js.publish("kept.a", "one".into()).await.ok()?;
        tokio::time::timeout(Duration::from_secs(1), acknowledged).await.ok()?.ok()
    })
    .await;
    cluster.named(&leader).restart_unready();
    cluster.named(&leader).restart().await;
    cluster.servers[0].enter_lame_duck_mode();
    eventually("it says so", async || cluster.servers[0].log().contains("lame duck").then_some(())).await;
}
