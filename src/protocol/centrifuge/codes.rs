//! Placeholder until the protocol room's tables land.

use std::borrow::Cow;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectCode {
    Slow,
}

impl From<DisconnectCode> for Disconnect {
    fn from(_: DisconnectCode) -> Self {
        Self { code: 3008, reason: Cow::Borrowed("slow") }
    }
}
