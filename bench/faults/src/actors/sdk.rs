//! Clients of official JavaScript libraries, in a process of their own that tells what they see.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Status;
use crate::journal::{Entry, Journal, ORDERED, PUT_OUT};
use crate::plan::Listener;

/// The process. It is killed when this is dropped.
pub struct Sdk {
    child: Child,
    stdin: Option<ChildStdin>,
    reading: JoinHandle<()>,
    pub statuses: HashMap<String, Arc<Mutex<Status>>>,
}

impl Sdk {
    /// Starts clients that connect to these nodes, by a script of `sdk/`.
    ///
    /// # Errors
    /// Without Node.js, or without the modules of the SDK suites (`scripts/test.sh` installs them).
    pub fn start(
        script: &str,
        listeners: &[(Listener, Option<String>)],
        nodes: &[SocketAddr],
        journal: &Arc<Journal>,
    ) -> anyhow::Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = here.ancestors().nth(2).context("the workspace")?.join("tests/sdk/js");
        let node =
            |(index, address): (usize, &SocketAddr)| json!({"name": format!("node-{index}"), "address": address});
        let of = |(listener, token): &(Listener, Option<String>)| {
            let mut client = json!(listener);
            client["token"] = json!(token);
            client
        };
        let cast = json!({
            "nodes": nodes.iter().enumerate().map(node).collect::<Vec<_>>(),
            "clients": listeners.iter().map(of).collect::<Vec<_>>(),
            "modules": modules,
        });
        let mut child = Command::new("node")
            .arg(here.join("sdk").join(script))
            .arg(cast.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start node")?;
        let stdin = child.stdin.take();
        let said = child.stdout.take().context("its output")?;
        let statuses: HashMap<String, Arc<Mutex<Status>>> =
            listeners.iter().map(|(listener, _)| (listener.name.clone(), Arc::default())).collect();
        let (known, journal) = (statuses.clone(), Arc::clone(journal));
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(said).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str::<Entry>(&line) {
                    Ok(entry) => {
                        note(&known, &entry, line.contains("\"barrier\":true"));
                        journal.write(entry);
                    }
                    Err(error) => {
                        let how = format!("{error}: {line}");
                        journal.write(Entry::Broken { client: "a process of clients".to_owned(), how });
                    }
                }
            }
        });
        Ok(Self { child, stdin, reading, statuses })
    }

    /// All clients go away, and the process with them.
    pub async fn leave(&mut self) {
        drop(self.stdin.take());
        let _ = timeout(Duration::from_secs(10), self.child.wait()).await;
        let _ = (&mut self.reading).await;
    }
}

fn note(known: &HashMap<String, Arc<Mutex<Status>>>, entry: &Entry, barrier: bool) {
    let change = |client: &str, change: &dyn Fn(&mut Status)| {
        if let Some(status) = known.get(client) {
            change(&mut status.lock().expect("nobody panics while changing a status"));
        }
    };
    match entry {
        Entry::Connected { client, uuid, .. } => change(client, &|status| status.uuid = Some(uuid.clone())),
        Entry::Disconnected { client, code, .. } => change(client, &|status| {
            status.ordered += u64::from(*code == ORDERED);
            status.uuid = None;
            status.subscribed.clear();
        }),
        Entry::GaveUp { client, .. } => change(client, &|status| status.gave_up = true),
        Entry::Subscribed { client, channel, .. } => change(client, &|status| {
            status.subscribed.insert(channel.clone());
        }),
        Entry::Unsubscribed { client, channel, code, .. } => change(client, &|status| {
            status.put_out += u64::from(*code == PUT_OUT);
            status.subscribed.remove(channel);
        }),
        Entry::Received { client, channel, .. } if barrier => change(client, &|status| {
            status.barriers.insert(channel.clone());
        }),
        _ => {}
    }
}
