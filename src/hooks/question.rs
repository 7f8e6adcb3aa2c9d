//! What hooks are asked, in JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// All fields of all questions; each kind of hook sets its own.
#[derive(Serialize, Default)]
pub struct Question<'a> {
    pub client: &'a str,
    pub transport: &'a str,
    pub protocol: &'static str,
    /// `json`, or `binary` with the data in `b64data`.
    pub encoding: &'static str,
    /// There in every question but the connect hook's, also when it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub version: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub channels: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub b64data: String,
}

impl<'a> Question<'a> {
    /// The same with what the client sent along: as it is where it is JSON, else in base64.
    pub fn with_data(mut self, data: &'a [u8]) -> Self {
        if let Ok(json) = serde_json::from_slice(data) {
            self.data = Some(json);
        } else if !data.is_empty() {
            self.encoding = "binary";
            self.b64data = BASE64_STANDARD.encode(data);
        }
        self
    }

    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings and checked JSON always serialize").into()
    }
}
