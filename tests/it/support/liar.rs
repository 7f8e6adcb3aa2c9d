//! Stands between a node and NATS, and changes what the server says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// A proxy that replaces words by words of the same length, or keeps things to itself.
pub struct Liar {
    port: u16,
    lie: Arc<Mutex<Option<Lie>>>,
    /// Nobody gets through.
    cut: Arc<AtomicBool>,
    /// Connections of an earlier number end.
    torn: watch::Sender<u64>,
}

enum Lie {
    Instead(Vec<Word>),
    /// Whatever is said with this word in it never comes.
    Nothing(String),
    /// The connection ends on which a node says this first.
    HangUp(String),
}

struct Word {
    truth: String,
    lie: String,
    said: bool,
}

impl Liar {
    /// In front of the server at this port; honest until it is told to lie.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lie: Arc<Mutex<Option<Lie>>> = Arc::default();
        let (torn, tearing) = watch::channel(0);
        let words = Arc::clone(&lie);
        let cut = Arc::new(AtomicBool::new(false));
        let refuses = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let (lie, mut tearing) = (Arc::clone(&words), tearing.clone());
                tearing.mark_unchanged();
                if refuses.load(Ordering::SeqCst) {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    tokio::select! {
                        () = pass(node, server, &lie) => {}
                        _ = tearing.changed() => {}
                    }
                });
            }
        });
        Self { port, lie, cut, torn }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("nats://127.0.0.1:{}", self.port)).unwrap()
    }

    /// From now on `truth` is `lie`; both are of one length.
    pub fn lie(&self, truth: &str, lie: &str) {
        self.lies(&[(truth, lie)]);
    }

    /// Several lies at once.
    pub fn lies(&self, words: &[(&str, &str)]) {
        let word = |(truth, lie): &(&str, &str)| {
            assert_eq!(truth.len(), lie.len());
            Word { truth: (*truth).to_owned(), lie: (*lie).to_owned(), said: false }
        };
        *self.lie.lock() = Some(Lie::Instead(words.iter().map(word).collect()));
    }

    /// Whether every lie was told.
    pub fn has_lied(&self) -> bool {
        matches!(&*self.lie.lock(), Some(Lie::Instead(words)) if words.iter().all(|word| word.said))
    }

    /// From now on it tells the truth.
    pub fn repent(&self) {
        *self.lie.lock() = None;
    }

    /// From now on every message is lost that has this word in it.
    pub fn swallow(&self, word: &str) {
        *self.lie.lock() = Some(Lie::Nothing(word.to_owned()));
    }

    /// The next connection ends on which a node says this word.
    pub fn hang_up_at(&self, word: &str) {
        *self.lie.lock() = Some(Lie::HangUp(word.to_owned()));
    }

    /// Whether it [has](Self::hang_up_at).
    pub fn has_hung_up(&self) -> bool {
        self.lie.lock().is_none()
    }

    /// Ends all connections, and takes none until it is [mended](Self::mend).
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.tear();
    }

    /// Lets through again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// Ends all connections.
    pub fn tear(&self) {
        self.torn.send_modify(|torn| *torn += 1);
    }
}

async fn pass(node: TcpStream, server: TcpStream, lie: &Mutex<Option<Lie>>) {
    let (mut from_node, mut to_node) = node.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut said = Vec::new();
        while let Ok(1..) = from_node.read_buf(&mut said).await {
            if must_hang_up(&said, &mut lie.lock()) || to_server.write_all(&said).await.is_err() {
                return;
            }
            said.clear();
        }
    };
    let down = async {
        let mut rest = Vec::new();
        while let Ok(1..) = from_server.read_buf(&mut rest).await {
            while let Some(length) = first_operation(&rest) {
                let mut said: Vec<u8> = rest.drain(..length).collect();
                match &mut *lie.lock() {
                    None => {}
                    Some(Lie::Instead(words)) => words.iter_mut().for_each(|word| word.replace(&mut said)),
                    Some(Lie::Nothing(word)) if said.windows(word.len()).any(|part| part == word.as_bytes()) => {
                        continue;
                    }
                    Some(Lie::Nothing(_) | Lie::HangUp(_)) => {}
                }
                if to_node.write_all(&said).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

fn must_hang_up(said: &[u8], lie: &mut Option<Lie>) -> bool {
    lie.take_if(|lie| matches!(lie, Lie::HangUp(word) if said.windows(word.len()).any(|part| part == word.as_bytes())))
        .is_some()
}

/// The length of what the server says first, once it is whole.
fn first_operation(said: &[u8]) -> Option<usize> {
    let line = said.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let text = std::str::from_utf8(&said[..line]).ok()?;
    if !text.starts_with("MSG ") && !text.starts_with("HMSG ") {
        return Some(line);
    }
    let size: usize = text.trim_end().rsplit(' ').next()?.parse().ok()?;
    let whole = line + size + 2;
    (said.len() >= whole).then_some(whole)
}

impl Word {
    fn replace(&mut self, said: &mut [u8]) {
        for at in 0..said.len().saturating_sub(self.truth.len() - 1) {
            if said[at..].starts_with(self.truth.as_bytes()) {
                said[at..at + self.lie.len()].copy_from_slice(self.lie.as_bytes());
                self.said = true;
            }
        }
    }
}
