//! What the backplane on NATS promises when servers die, hang, forget, or were set up by somebody else. Every fault here
//! is a real one.

mod altered;
mod deletions;
mod depths;
mod elections;
mod epochs;
mod losses;
mod permissions;
mod provisioning;
mod publishers;
mod replicas;

use std::sync::Arc;

use midplane::backplane::nats::ConnectError;
use midplane::backplane::{Backplane, feed};
use midplane::settings::{self, Namespaces};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::member::Member;
use crate::support::namespaces::{open, registry};
use crate::support::nats_settings::connect;

const STREAM: &str = "MP_midplane_kept";

/// `kept` has a long history, `plain` none.
fn namespaces() -> Namespaces {
    keeping(100_000)
}

fn keeping(size: usize) -> Namespaces {
    registry([open("kept", Some(size)), open("plain", None)])
}

async fn join(settings: &settings::Nats) -> Member {
    join_with(settings, &namespaces()).await
}

async fn join_with(settings: &settings::Nats, namespaces: &Namespaces) -> Member {
    let make = async |feed| connect(settings, namespaces, feed).await.unwrap() as Arc<dyn Backplane>;
    Member::start(make).await
}

/// Why a node cannot join.
async fn refusal(settings: &settings::Nats, namespaces: &Namespaces) -> ConnectError {
    let (sender, _feeds) = feed::open(1);
    connect(settings, namespaces, sender).await.err().expect("a refusal")
}

/// Somebody who may do everything, and does it without midplane.
struct Operator(async_nats::Client);

impl Operator {
    async fn of(settings: &settings::Nats) -> Self {
        let servers: Vec<_> =
            settings.servers.iter().map(|url| async_nats::ServerAddr::from_url(url.clone()).unwrap()).collect();
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect().max_reconnects(None);
        Self(options.connect(servers).await.unwrap())
    }

    async fn try_ask(&self, verb: &str, question: &Value) -> Option<Value> {
        let answer = self.0.request(format!("$JS.API.{verb}"), question.to_string().into()).await.ok()?;
        serde_json::from_slice(&answer.payload).ok()
    }

    async fn ask(&self, verb: &str, question: Value) -> Value {
        let answer = eventually(&format!("{verb} is answered"), async || self.try_ask(verb, &question).await).await;
        assert!(answer.get("error").is_none(), "{verb}: {answer}");
        answer
    }

    async fn info(&self) -> Value {
        eventually("the stream is described", async || {
            let info = self.try_ask(&format!("STREAM.INFO.{STREAM}"), &json!({})).await?;
            info.get("error").is_none().then_some(info)
        })
        .await
    }

    /// The name of the server that leads the stream.
    async fn leader(&self) -> String {
        eventually("the stream has a leader", async || {
            let info = self.info().await;
            Some(info["cluster"]["leader"].as_str()?.to_owned()).filter(|leader| !leader.is_empty())
        })
        .await
    }
}
