//! From a value as it was written to what it means. The errors say what would be right; who reads adds key and value.

mod rate;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};
use regex::Regex;
use secrecy::SecretString;
use url::Url;

pub(super) use self::rate::{ByteLimit, Limit};
pub(super) use self::words::{ErrorMode, Switch};

use super::files;
use super::model::IpNet;

/// What is wrong with a value, and what would be right.
pub(super) type Wrong = String;

/// Beyond it the nanoseconds of a duration are no number for NATS.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Something that can be read from one value.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, Wrong>;
}

/// The text of a value. Numbers are no texts: a secret `00123` would have lost its zeros.
fn text(value: &Value) -> Result<&str, Wrong> {
    match &value.kind {
        ValueKind::String(text) => Ok(text.trim()),
        ValueKind::Array(_) | ValueKind::Table(_) => Err("expected a single string".to_owned()),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => Err("not a text (put it in quotes)".to_owned()),
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        text(value).map(str::to_owned)
    }
}

impl FromValue for SecretString {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        // Not trimmed: whatever stands there is the secret.
        match &value.kind {
            ValueKind::String(secret) if secret.trim().is_empty() => Err("nothing but white space".to_owned()),
            ValueKind::String(secret) => Ok(Self::from(secret.as_str())),
            _ => text(value).map(Self::from),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match &value.kind {
            ValueKind::Boolean(value) => Ok(*value),
            ValueKind::String(text) if text.trim() == "true" => Ok(true),
            ValueKind::String(text) if text.trim() == "false" => Ok(false),
            _ => Err("neither true nor false".to_owned()),
        }
    }
}

impl FromValue for usize {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let number = match &value.kind {
            ValueKind::I64(number) => Self::try_from(*number).ok(),
            ValueKind::U64(number) => Self::try_from(*number).ok(),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| "not a whole number from 0 on".to_owned())
    }
}

impl FromValue for u16 {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let number = usize::from_value(value).ok().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| "not a port (0 to 65535)".to_owned())
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub usize);

impl FromValue for Bytes {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let wrong = || "not a size (try 65536 or \"64KiB\")".to_owned();
        let ValueKind::String(text) = &value.kind else {
            return usize::from_value(value).map(Self).map_err(|_| wrong());
        };
        Self::parse(text).ok_or_else(wrong)
    }
}

impl Bytes {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: usize = text[..unit].parse().ok()?;
        let factor = match text[unit..].trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return None,
        };
        number.checked_mul(factor).map(Self)
    }
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let text = match &value.kind {
            ValueKind::I64(0) => return Ok(Self::ZERO),
            // Centrifugo would read nanoseconds, most people would mean seconds.
            ValueKind::I64(number) => return Err(format!("a number without a unit (try \"{number}s\")")),
            _ => text(value).map_err(|_| not_a_duration(""))?,
        };
        if text == "0" {
            return Ok(Self::ZERO);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("a number without a unit (try \"{text}s\")"));
        }
        // Months are nobody's timeout: "10M" was meant to be minutes.
        if text.contains('M') {
            return Err(not_a_duration(text));
        }
        let duration = humantime::parse_duration(text).map_err(|_| not_a_duration(text))?;
        if duration > LONGEST { Err("longer than a hundred years (try \"720h\")".to_owned()) } else { Ok(duration) }
    }
}

/// A duration that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Positive(pub Duration);

impl FromValue for Positive {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match Duration::from_value(value)? {
            Duration::ZERO => Err("no time at all (try \"5s\")".to_owned()),
            duration => Ok(Self(duration)),
        }
    }
}

/// A part of something, more than nothing and no more than all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fraction(pub f64);

impl FromValue for Fraction {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let number = match &value.kind {
            ValueKind::Float(number) => Some(*number),
            ValueKind::I64(number) => Some(*number as f64),
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| *number > 0.0 && *number <= 1.0);
        number.map(Self).ok_or_else(|| "not a number above 0 and up to 1 (try 0.8)".to_owned())
    }
}

fn not_a_duration(text: &str) -> Wrong {
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    format!("not a duration (try \"{}m\")", if number.is_empty() { "5" } else { &number })
}

impl FromValue for SocketAddr {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let text = text(value)?.replace("localhost:", "127.0.0.1:");
        // ":8000" is how many write "every address".
        let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text };
        text.parse().map_err(|_| "not an address with a port (try \"127.0.0.1:8000\")".to_owned())
    }
}

impl FromValue for IpNet {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let wrong = || "not a network (try \"10.0.0.0/8\")".to_owned();
        let text = text(value)?;
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl FromValue for Url {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let url: Option<Self> = text(value)?.parse().ok();
        url.filter(Self::has_host).ok_or_else(|| "not an address (try \"https://host/path\")".to_owned())
    }
}

/// An address of the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebAddress(pub Url);

impl FromValue for WebAddress {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let url = Url::from_value(value)?;
        if matches!(url.scheme(), "http" | "https") { Ok(Self(url)) } else { Err("neither http nor https".to_owned()) }
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let path = Self::from(text(value)?);
        files::missing(&path).map_or(Ok(path), Err)
    }
}

impl FromValue for Regex {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        Self::new(text(value)?).map_err(|error| {
            let error = error.to_string();
            format!("not a regular expression ({})", error.lines().last().unwrap_or_default())
        })
    }
}

/// Not set where the text is empty.
impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match &value.kind {
            ValueKind::String(text) if text.is_empty() => Ok(None),
            _ => T::from_value(value).map(Some),
        }
    }
}

/// A list, or a text with commas (which is all that the environment can say).
impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match &value.kind {
            ValueKind::Array(values) => values.iter().map(T::from_value).collect(),
            ValueKind::String(text) => {
                let parts: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
                if parts.is_empty() && !text.is_empty() {
                    return Err("nothing stands between the commas".to_owned());
                }
                parts.into_iter().map(|part| T::from_value(&Value::new(None, part))).collect()
            }
            _ => Err("not a list".to_owned()),
        }
    }
}

/// A table of texts, in the order of their names.
impl FromValue for Vec<(String, String)> {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let ValueKind::Table(table) = &value.kind else {
            return Err("not a table (try { Name = \"value\" })".to_owned());
        };
        let mut entries = table
            .iter()
            .map(|(name, value)| Ok((name.clone(), String::from_value(value)?)))
            .collect::<Result<Self, Wrong>>()?;
        entries.sort();
        Ok(entries)
    }
}
