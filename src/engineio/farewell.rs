//! How clients are told that their session is over.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::CloseReason;
use super::polling::Polling;
use crate::hub::Outbox;
use crate::protocol::socketio::payload;
use crate::protocol::websocket;
use crate::session::{Transport, write_out};
use crate::socket::RawTransport;

/// How long a client may take to answer our close, or to come for the last that it is told.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may still be on its way that a client sent before the one that closed its session.
const OVERTAKEN: Duration = Duration::from_millis(250);

pub(super) async fn close_polling(mut polling: Polling, outbox: &Outbox, reason: &CloseReason) {
    if let CloseReason::TransportClose(_) = reason {
        // Whatever else its client has begun meanwhile, it has closed the session.
        drop(polling.linger(OVERTAKEN).await);
        polling.finish(outbox, payload::NOOP);
        return;
    }
    outbox.finish(Some(websocket::close_frame(1000, "")));
    while let CloseReason::Forced(_) = reason {
        if let Some((transport, wire)) = polling.linger(CLOSE_TIMEOUT).await {
            outbox.attach(Box::new(wire));
            drop(polling.leave());
            return see_off(transport, outbox).await;
        }
        if !polling.say_rest(outbox) {
            break;
        }
    }
    polling.finish(outbox, payload::CLOSE);
}

pub(super) async fn close_websocket(transport: RawTransport, outbox: &Outbox, reason: &CloseReason) {
    let code = match reason {
        CloseReason::TransportError(_) => return,
        CloseReason::TransportClose(code) => code.unwrap_or(1000),
        CloseReason::PingTimeout | CloseReason::ParseError { .. } | CloseReason::Forced(_) => reason.code(),
    };
    outbox.finish(Some(websocket::close_frame(code, "")));
    see_off(transport, outbox).await;
}

/// Writes the last that is said, and waits for the client's answer to that.
async fn see_off(mut transport: RawTransport, outbox: &Outbox) {
    if !write_out(&mut transport, outbox).await {
        return;
    }
    outbox.abandon();
    let farewell = std::future::poll_fn(|cx| transport.poll_farewell(cx));
    // Whoever does not answer is left all the same.
    let _ = timeout_at(Instant::now() + CLOSE_TIMEOUT, farewell).await;
}
