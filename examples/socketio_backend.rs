//! A backend of Socket.IO clients, in Rust: greets whoever comes, adds numbers, passes notes from user to user.
//!
//! `NATS_URL=nats://localhost:4222 cargo run --example socketio_backend`

use std::io::Write;

use anyhow::Context;
use async_nats::{Client, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// Of several such processes one gets each event.
const QUEUE: &str = "backend";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "an example has no settings")]
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://localhost:4222".to_owned());
    let client = async_nats::connect(url).await?;
    let mut events = client.queue_subscribe("midplane.sio._.*", QUEUE.to_owned()).await?;
    client.flush().await?;
    writeln!(std::io::stdout(), "serving")?;
    while let Some(message) = events.next().await {
        if let Err(error) = serve(&client, &message).await {
            writeln!(std::io::stderr(), "{}: {error:#}", message.subject)?;
        }
    }
    Ok(())
}

/// Serves an event; what comes of it is the acknowledgement.
async fn serve(client: &Client, message: &Message) -> anyhow::Result<()> {
    let event: Vec<Value> = serde_json::from_slice(&message.payload)?;
    let [name, arguments @ ..] = &event[..] else { return Ok(()) };
    let answer = match (name.as_str().unwrap_or_default(), arguments) {
        ("connect", _) => {
            let name = match header(message, "Midplane-User")? {
                "" => "stranger",
                user => user,
            };
            let to = json!({ "sockets": [header(message, "Midplane-Client")?] });
            emit(client, &to, &json!(["welcome", name])).await?;
            json!([])
        }
        ("sum", numbers) => json!([numbers.iter().filter_map(Value::as_i64).sum::<i64>()]),
        ("note", [user, text]) => {
            let from = header(message, "Midplane-User")?;
            emit(client, &json!({ "users": [user] }), &json!(["note", from, text])).await?;
            json!(["sent"])
        }
        // Nobody is told that all is well.
        _ => return Ok(()),
    };
    if let Some(reply) = &message.reply {
        client.publish(reply.clone(), answer.to_string().into()).await?;
    }
    Ok(())
}

/// Emits to sockets, users or rooms of the main namespace.
async fn emit(client: &Client, to: &Value, event: &Value) -> anyhow::Result<()> {
    let call = json!({ "to": to, "event": event }).to_string();
    let answer = client.request("midplane.api.socketio_emit", call.into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    anyhow::ensure!(answer.get("error").is_none(), "not emitted: {answer}");
    Ok(())
}

fn header<'a>(message: &'a Message, name: &str) -> anyhow::Result<&'a str> {
    let headers = message.headers.as_ref().context("no headers")?;
    Ok(headers.get(name).with_context(|| format!("no {name}"))?.as_str())
}
