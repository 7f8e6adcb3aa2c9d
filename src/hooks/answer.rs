//! What hooks answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::HookError;
use crate::auth::options::{self, Subs, SubscribeOptions};
use crate::auth::{ConnectionGrant, Overrides, ServerSub};
use crate::backplane::Version;
use crate::protocol::centrifuge::codes::{ClientError, CodeRefused, Disconnect, DisconnectCode, ErrorCode};
use crate::telemetry::HookResult;

/// What a hook decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<T> {
    Result(T),
    /// The command fails with this.
    Error(ClientError),
    /// The connection ends with this.
    Disconnect(Disconnect),
}

impl<T> Verdict<T> {
    pub(super) fn label(&self) -> HookResult {
        match self {
            Self::Result(_) => HookResult::Result,
            Self::Error(_) => HookResult::Error,
            Self::Disconnect(_) => HookResult::Disconnect,
        }
    }
}

/// What the connect hook grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    /// As a token would. `expires_at` may lie in the past: that is error 110.
    pub grant: ConnectionGrant,
    /// For the client, in the connect result.
    pub data: Option<Bytes>,
}

/// How a connection goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// It does not.
    pub expired: bool,
    /// Unix seconds; `None` is never.
    pub expires_at: Option<u64>,
    /// In place of what is known, where given.
    pub info: Option<Bytes>,
    pub meta: Option<Bytes>,
}

/// What the subscribe hook grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// Unix seconds; `None` is never.
    pub expires_at: Option<u64>,
    /// `chan_info`.
    pub info: Option<Bytes>,
    /// For the client, in the subscribe result.
    pub data: Option<Bytes>,
    pub overrides: Overrides,
}

/// How a client's publication is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publishable {
    /// In place of what the client sent, where given.
    pub data: Option<Bytes>,
    pub skip_history: bool,
    pub tags: Vec<(String, String)>,
    pub idempotency_key: Option<String>,
    pub delta: bool,
    pub version: Option<Version>,
}

/// How a subscription goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubRefreshed {
    /// It does not.
    pub expired: bool,
    /// Unix seconds; `None` is never.
    pub expires_at: Option<u64>,
    /// In place of what is known, where given.
    pub info: Option<Bytes>,
}

/// A result as it is written.
pub(super) trait Wire: for<'de> Deserialize<'de> {
    type Result;

    fn resolve(self) -> Result<Self::Result, HookError>;
}

/// `null` is as good as absent: not every backend leaves out what it does not set.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    disconnect: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorWire {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct DisconnectWire {
    code: u32,
    #[serde(default)]
    reason: String,
}

/// Reads an answer. Where it holds more than one of the three, the gravest counts; where it holds none, nothing is decided,
/// least of all that something is allowed: gateways and frameworks answer with objects of their own.
pub(super) fn read<W: Wire>(answer: &[u8]) -> Result<Verdict<W::Result>, HookError> {
    let Envelope { result, error, disconnect } = object("the answer", answer)?;
    let result = result.map(|result| object::<W>("result", result.get().as_bytes())).transpose()?;
    let error = error.map(|error| object("error", error.get().as_bytes())).transpose()?;
    if let Some(end) = disconnect {
        let DisconnectWire { code, reason } = object("disconnect", end.get().as_bytes())?;
        return ended(code, reason).map(Verdict::Disconnect).map_err(HookError::Code);
    }
    if let Some(ErrorWire { code, message, temporary }) = error {
        return client_error(code, message, temporary).map(Verdict::Error).map_err(HookError::Code);
    }
    result.ok_or(HookError::Undecided)?.resolve().map(Verdict::Result)
}

/// Reads a JSON object, and nothing else: by itself serde takes an array for a struct too, field by field.
fn object<'a, T: Deserialize<'a>>(what: &'static str, json: &'a [u8]) -> Result<T, HookError> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(HookError::NoObject(what));
    }
    serde_json::from_slice(json).map_err(HookError::Answer)
}

/// The error that a backend asks for; without words of its own it gets the table's, since SDKs hang on none.
pub(super) fn client_error(code: u32, message: String, temporary: bool) -> Result<ClientError, CodeRefused> {
    let message: Cow<'static, str> = if message.is_empty() {
        ErrorCode::from_code(code).map_or("refused by the application", ErrorCode::message).into()
    } else {
        message.into()
    };
    ClientError::custom(code, message, temporary)
}

/// The end that a backend asks for. A reason that cannot be sent does not keep a client connected.
fn ended(code: u32, reason: String) -> Result<Disconnect, CodeRefused> {
    Disconnect::custom(code, reason).or_else(|refused| match refused {
        CodeRefused::OutOfRange { .. } => Err(refused),
        CodeRefused::Empty { .. } | CodeRefused::TooLong { .. } | CodeRefused::LooksLikeJson { .. } => {
            let known = u16::try_from(code).ok().and_then(DisconnectCode::from_code);
            Disconnect::custom(code, known.map_or("disconnected by the application", DisconnectCode::reason))
        }
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ConnectWire {
    user: Option<String>,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    channels: Option<Vec<String>>,
    subs: Option<Subs>,
    meta: Option<Box<RawValue>>,
}

impl Wire for ConnectWire {
    type Result = Connected;

    fn resolve(self) -> Result<Connected, HookError> {
        let mut subs = options::subscriptions(self.subs.unwrap_or_default())?;
        for plain in options::plain_subscriptions(self.channels.unwrap_or_default()) {
            if !subs.iter().any(|sub| sub.channel == plain.channel) {
                subs.push(plain);
            }
        }
        let grant = ConnectionGrant {
            user: options::user(self.user.unwrap_or_default())?,
            info: options::info(self.info, self.b64info)?,
            meta: self.meta.map(|meta| options::on_one_line(&meta)),
            expires_at: self.expire_at.and_then(options::expiry),
            subs,
            token_id: None,
            issued_at: None,
        };
        Ok(Connected { grant, data: options::either(self.data, self.b64data, "b64data")? })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RefreshWire {
    expired: bool,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    meta: Option<Box<RawValue>>,
}

impl Wire for RefreshWire {
    type Result = Refreshed;

    fn resolve(self) -> Result<Refreshed, HookError> {
        Ok(Refreshed {
            expired: self.expired,
            expires_at: self.expire_at.and_then(options::expiry),
            info: options::info(self.info, self.b64info)?,
            meta: self.meta.map(|meta| options::on_one_line(&meta)),
        })
    }
}

/// Read in two parts: the options are those of tokens.
pub(super) struct SubscribeWire {
    expire_at: Option<i64>,
    options: SubscribeOptions,
}

impl<'de> Deserialize<'de> for SubscribeWire {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Expiry {
            expire_at: Option<i64>,
        }
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let Expiry { expire_at } = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        let options = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { expire_at, options })
    }
}

impl Wire for SubscribeWire {
    type Result = Subscribed;

    fn resolve(self) -> Result<Subscribed, HookError> {
        let ServerSub { channel: _, info, data, overrides } = self.options.subscription(String::new())?;
        Ok(Subscribed { expires_at: self.expire_at.and_then(options::expiry), info, data, overrides })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PublishWire {
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    skip_history: bool,
    tags: Option<BTreeMap<String, String>>,
    idempotency_key: Option<String>,
    delta: bool,
    version: u64,
    version_epoch: Option<String>,
}

impl Wire for PublishWire {
    type Result = Publishable;

    fn resolve(self) -> Result<Publishable, HookError> {
        let epoch = self.version_epoch.unwrap_or_default();
        Ok(Publishable {
            data: options::either(self.data, self.b64data, "b64data")?,
            skip_history: self.skip_history,
            tags: self.tags.unwrap_or_default().into_iter().collect(),
            idempotency_key: self.idempotency_key.filter(|key| !key.is_empty()),
            delta: self.delta,
            version: (self.version > 0).then_some(Version { number: self.version, epoch }),
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SubRefreshWire {
    expired: bool,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
}

impl Wire for SubRefreshWire {
    type Result = SubRefreshed;

    fn resolve(self) -> Result<SubRefreshed, HookError> {
        Ok(SubRefreshed {
            expired: self.expired,
            expires_at: self.expire_at.and_then(options::expiry),
            info: options::info(self.info, self.b64info)?,
        })
    }
}
