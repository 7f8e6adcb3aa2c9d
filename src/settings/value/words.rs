//! Values that are one of a few words.

use config::{Value, ValueKind};

use super::{FromValue, Wrong, text};
use crate::settings::channels::{DataFormat, DeltaType, RecoveryMode, SlowReader};
use crate::settings::model::{ConnectionOverflow, LogFormat};
use crate::settings::nats::Storage;
use crate::settings::redis::{Adapter, SubscriptionMode};
use crate::settings::socketio::SocketIoNotice;

/// On, off, or what the rest of the settings suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::settings) enum Switch {
    Auto,
    On,
    Off,
}

impl FromValue for Switch {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match &value.kind {
            ValueKind::String(text) if text == "auto" => Ok(Self::Auto),
            _ => match bool::from_value(value) {
                Ok(true) => Ok(Self::On),
                Ok(false) => Ok(Self::Off),
                Err(_) => Err("none of true, false, \"auto\"".to_owned()),
            },
        }
    }
}

/// Reads one of a closed set of words.
fn word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = text(value)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        format!("none of {}", words.join(", "))
    })
}

impl FromValue for DeltaType {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("fossil", Self::Fossil)])
    }
}

impl FromValue for SocketIoNotice {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let words = [
            ("connect", Self::Connect),
            ("disconnect", Self::Disconnect),
            ("join", Self::Join),
            ("leave", Self::Leave),
            ("create", Self::Create),
            ("delete", Self::Delete),
        ];
        word(value, &words)
    }
}

impl FromValue for SlowReader {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("close", Self::Close), ("conflate", Self::Conflate), ("recover", Self::Recover)])
    }
}

impl FromValue for ConnectionOverflow {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("refuse", Self::Refuse), ("replace", Self::Replace)])
    }
}

impl FromValue for RecoveryMode {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        // Centrifugo writes its default as "".
        if matches!(&value.kind, ValueKind::String(text) if text.is_empty()) {
            return Ok(Self::Stream);
        }
        word(value, &[("stream", Self::Stream), ("cache", Self::Cache)])
    }
}

impl FromValue for DataFormat {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let words =
            [("", Self::NotEmpty), ("json", Self::Json), ("json_object", Self::JsonObject), ("binary", Self::Binary)];
        word(value, &words)
    }
}

impl FromValue for LogFormat {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("text", Self::Text), ("json", Self::Json)])
    }
}

impl FromValue for Storage {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("file", Self::File), ("memory", Self::Memory)])
    }
}

impl FromValue for Adapter {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("classic", Self::Classic), ("sharded", Self::Sharded(SubscriptionMode::Dynamic))])
    }
}

impl FromValue for SubscriptionMode {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let words = [("static", Self::Static), ("dynamic", Self::Dynamic), ("dynamic-private", Self::DynamicPrivate)];
        word(value, &words)
    }
}

/// How errors of the server API travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::settings) enum ErrorMode {
    Body,
    Transport,
}

impl FromValue for ErrorMode {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        word(value, &[("", Self::Body), ("transport", Self::Transport)])
    }
}
