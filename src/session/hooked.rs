//! Where the application is asked.

use bytes::Bytes;

use super::Failure;
use super::commands::Answer;
use super::connect::Identity;
use super::state::Session;
use super::subscribe::Grant;
use crate::backplane::Outgoing;
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::{DisconnectCode, ErrorCode};
use crate::protocol::centrifuge::{ConnectRequest, SendRequest, SubscribeRequest};

impl Session {
    /// Whether the client renews its connection by tokens, rather than the server by asking a hook.
    pub(super) fn client_refreshes(&self) -> bool {
        true
    }

    pub(super) async fn identify_by_hook(&self, _request: &ConnectRequest) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    pub(super) async fn ask_before_subscribe(&self, _: &Channel, _: &SubscribeRequest) -> Result<Grant, Failure> {
        Err(ErrorCode::PermissionDenied.into())
    }

    pub(super) async fn ask_before_publish(&self, _: &Channel, _: Outgoing) -> Result<Outgoing, Failure> {
        Err(ErrorCode::PermissionDenied.into())
    }

    pub(super) async fn call(&self, _method: &str, _data: Bytes) -> Result<Bytes, Failure> {
        Err(ErrorCode::NotAvailable.into())
    }

    pub(super) async fn send(&self, _: SendRequest) -> Answer {
        Err(DisconnectCode::NotAvailable.into())
    }
}
