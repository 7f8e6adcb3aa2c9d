//! From the node that took a post to the one that owns its session.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::PostError;
use crate::backplane::{Request, RequestError, Requests};
use crate::hub::{Inboxes, NotTaken};
use crate::telemetry::{Telemetry, Topic};

/// Names the session. In a header, and not in the subject: whoever may watch subjects must not learn it.
const SESSION: &str = "Midplane-Session";

/// What the owner answers.
const TAKEN: &[u8] = b"taken";
const UNKNOWN: &[u8] = b"unknown";
const FULL: &[u8] = b"full";

/// Where a node takes posts for its sessions.
pub(super) fn subject(node: Uuid) -> String {
    format!("node.{}.emulation", node.simple())
}

/// Leaves a post that another node passed on in its session's inbox.
pub(super) fn answer(inboxes: &Inboxes, request: Request, telemetry: &Telemetry) {
    let session = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(SESSION));
    let Some(session) = session.and_then(|(_, session)| session.parse().ok()) else {
        telemetry.cluster.not_understood(Topic::Post);
        return;
    };
    let answer = match inboxes.post(session, request.body) {
        Ok(()) => TAKEN,
        Err(NotTaken::Unknown) => UNKNOWN,
        Err(NotTaken::Full) => FULL,
    };
    // Whoever asked may be gone.
    let _ = request.reply.send(Bytes::from_static(answer));
}

/// Passes a post on to `node`.
pub(super) async fn ask(
    requests: &dyn Requests,
    node: Uuid,
    session: Uuid,
    data: Bytes,
    within: Duration,
) -> Result<(), PostError> {
    let session = session.simple().to_string();
    match requests.request(&subject(node), &[(SESSION, &session)], data, within).await {
        Ok(answer) => match &*answer.body {
            TAKEN => Ok(()),
            UNKNOWN => Err(PostError::UnknownSession),
            FULL => Err(PostError::Busy),
            _ => Err(PostError::Unavailable("a strange answer".to_owned())),
        },
        Err(RequestError::NoResponder(_)) => Err(PostError::UnknownNode),
        Err(RequestError::Timeout(_)) => Err(PostError::Timeout),
        Err(error @ RequestError::TooLarge { .. }) => Err(PostError::Unavailable(error.to_string())),
        Err(RequestError::Unavailable(why)) => Err(PostError::Unavailable(why)),
    }
}
