//! The least that a NATS client can be: what core NATS itself costs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;

use crate::wire;

const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"name\":\"bench\"}\r\nPING\r\n";

/// Publishes, and reads nothing that matters.
pub struct NatsPublisher {
    stream: TcpStream,
}

impl NatsPublisher {
    pub fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let (stream, _) = open(server)?;
        Ok(Self { stream })
    }

    pub fn publish(&mut self, subject: &str, data: &str) -> anyhow::Result<()> {
        let message = format!("PUB {subject} {}\r\n{data}\r\n", data.len());
        Ok(self.stream.write_all(message.as_bytes())?)
    }
}

/// Reads `count` messages of `subject` on a thread of its own and tells how late they were.
pub fn subscribe(
    server: SocketAddr,
    subject: &str,
    origin: Instant,
    count: u64,
) -> anyhow::Result<JoinHandle<anyhow::Result<Histogram<u64>>>> {
    let (mut stream, mut reader) = open(server)?;
    stream.write_all(format!("SUB {subject} 1\r\nPING\r\n").as_bytes())?;
    await_pong(&mut reader)?;
    Ok(std::thread::spawn(move || {
        let mut latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        let (mut line, mut payload) = (String::new(), Vec::new());
        while latency.len() < count {
            line.clear();
            reader.read_line(&mut line)?;
            if !line.starts_with("MSG ") {
                ensure!(line.starts_with("PING"), "{line}");
                stream.write_all(b"PONG\r\n")?;
                continue;
            }
            let length: usize = line.trim_end().rsplit(' ').next().context("length")?.parse()?;
            payload.resize(length + 2, 0);
            reader.read_exact(&mut payload)?;
            let arrived = origin.elapsed().as_nanos() as u64;
            let scheduled = wire::number(&payload, b"\"t\":").context("a message without its time")?;
            latency.saturating_record(arrived.saturating_sub(scheduled));
        }
        Ok(latency)
    }))
}

fn open(server: SocketAddr) -> anyhow::Result<(TcpStream, BufReader<TcpStream>)> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(CONNECT)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    await_pong(&mut reader)?;
    Ok((stream, reader))
}

fn await_pong(reader: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    while !line.starts_with("PONG") {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "nats-server closed the connection");
        ensure!(!line.starts_with("-ERR"), "{line}");
    }
    Ok(())
}
