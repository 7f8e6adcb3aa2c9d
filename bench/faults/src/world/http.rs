//! One request over a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The status and the body of the answer.
pub async fn request(
    address: SocketAddr,
    head: &str,
    headers: &str,
    body: &str,
    patience: Duration,
) -> anyhow::Result<(u16, String)> {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        // A proxy that is cut ends the answer as well.
        anyhow::ensure!(length.is_none_or(|length| body.len() == length), "no whole answer");
        anyhow::Ok((status, body.to_owned()))
    };
    timeout(patience, ask).await.context("no answer in time")?
}
