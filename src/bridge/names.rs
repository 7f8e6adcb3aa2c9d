//! Tells the bridge, wherever it is, which rooms and sockets come up on this node.

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::socketio::{Names, SocketIo};

/// Names that are told at a time.
const AT_ONCE: usize = 256;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Goes on for ever.
pub(super) async fn tell(sockets: &SocketIo, mut names: Names) {
    loop {
        let mut risen = names.next(AT_ONCE).await;
        while let Err(error) = sockets.tell_names(risen.as_deref()).await {
            debug!(%error, "the bridge is not told what comes up here");
            // It asks for everything then.
            risen = None;
            sleep(PAUSE).await;
        }
    }
}
