//! Asks a node whether it serves. Small on purpose: it runs every few seconds, in every container.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use midplane::http::server::here;
use url::Url;

/// How long the whole question may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read.
const ANSWER: usize = 16 * 1024;

/// Where a node that listens on `bind` answers whether it serves.
pub(super) fn url_of(bind: SocketAddr) -> String {
    format!("http://{}/ready", here(bind))
}

/// Exit code 0 when `url` answers 200 in time, 1 otherwise, with the reason on standard error.
pub(super) fn ask(url: &str) -> ExitCode {
    let reason = match get(url) {
        Ok((200, _)) => return ExitCode::SUCCESS,
        Ok((status, body)) => format!("{status} {}", body.trim()),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(io::stderr(), "midplane: {url}: {reason}");
    ExitCode::FAILURE
}

fn get(url: &str) -> io::Result<(u16, String)> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let url: Url = url.parse().map_err(|_| invalid("not an address"))?;
    let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
        return Err(invalid("only http:// is asked"));
    };
    // An address without a path is that of a node.
    let path = if url.path() == "/" { "/ready" } else { url.path() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    let address = format!("{host}:{port}").to_socket_addrs()?.next().ok_or_else(|| invalid("no such host"))?;
    exchange(address, &request, Instant::now() + DEADLINE)
}

fn exchange(address: SocketAddr, request: &str, end: Instant) -> io::Result<(u16, String)> {
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while answer.len() < ANSWER {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    status.map(|status| (status, body.to_owned())).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers one request with `answer`, and waits for the client to leave.
    fn node(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /ready HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.is_empty() {
                let _ = stream.read(&mut request);
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn the_answer_of_the_node_decides() {
        let serving = node("HTTP/1.1 200 OK\r\n\r\n{}");
        assert_eq!(get(&serving).unwrap(), (200, "{}".to_owned()));
        let draining = node("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"reasons\":[\"draining\"]}");
        assert_eq!(get(&draining).unwrap().0, 503);
    }

    #[test]
    fn a_node_that_hangs_is_not_waited_for() {
        let begun = Instant::now();
        let error = get(&node("")).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(begun.elapsed() < DEADLINE * 3);
    }

    #[test]
    fn an_address_that_listens_everywhere_is_asked_on_this_machine() {
        assert_eq!(url_of("0.0.0.0:3001".parse().unwrap()), "http://127.0.0.1:3001/ready");
        assert_eq!(url_of("[::]:3001".parse().unwrap()), "http://[::1]:3001/ready");
    }
}
