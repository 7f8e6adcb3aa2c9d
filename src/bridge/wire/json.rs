//! From msgpack values to JSON text, binary data beside it.

use std::io::Write;

use bytes::Bytes;
use rmpv::Value;
use time::OffsetDateTime;

use super::Unfit;

/// What clients take at most.
const MOST_ATTACHMENTS: usize = 10;
/// The timestamp of msgpack, and of newer encoders.
const TIMESTAMP: i8 = -1;
/// What older encoders write for a date (8 bytes) and for `undefined` (1 byte).
const OLDER: i8 = 0;
/// JavaScript writes whole numbers up to here without an exponent.
const PLAIN: f64 = 1e21;

/// Arguments as this project has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// An array on one line.
    pub json: Bytes,
    pub attachments: Vec<Bytes>,
}

/// Arguments as JSON, with placeholders for what is binary.
///
/// # Errors
/// When a key is no text, or there is more binary data in them than clients take.
pub fn args(data: &[Value]) -> Result<Args, Unfit> {
    let mut writer = Writer::default();
    writer.array(data)?;
    Ok(Args { json: writer.json.into(), attachments: writer.attachments })
}

/// One value as JSON without attachments: binary data is written as Node writes a buffer that stands in JSON.
///
/// # Errors
/// When a key is no text.
pub fn text(value: &Value) -> Result<String, Unfit> {
    let mut writer = Writer { buffers: true, ..Writer::default() };
    writer.value(value)?;
    String::from_utf8(writer.json).map_err(|_| Unfit::Json)
}

#[derive(Default)]
struct Writer {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    /// Binary data stays in the JSON.
    buffers: bool,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Unfit> {
        match value {
            Value::Nil => self.raw("null"),
            Value::Boolean(value) => self.raw(if *value { "true" } else { "false" }),
            Value::Integer(number) => self.raw(&number.to_string()),
            Value::F32(number) => self.float(f64::from(*number)),
            Value::F64(number) => self.float(*number),
            Value::String(text) => self.text(&String::from_utf8_lossy(text.as_bytes())),
            Value::Binary(bytes) => return self.binary(bytes),
            Value::Array(elements) => return self.array(elements),
            Value::Map(members) => return self.object(members),
            Value::Ext(kind, bytes) => match date(*kind, bytes) {
                Some(date) => self.text(&date),
                None => self.raw("null"),
            },
        }
        Ok(())
    }

    fn array(&mut self, elements: &[Value]) -> Result<(), Unfit> {
        self.raw("[");
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            self.value(element)?;
        }
        self.raw("]");
        Ok(())
    }

    fn object(&mut self, members: &[(Value, Value)]) -> Result<(), Unfit> {
        self.raw("{");
        for (index, (key, value)) in members.iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            match key {
                Value::String(text) => self.text(&String::from_utf8_lossy(text.as_bytes())),
                Value::Integer(number) => self.text(&number.to_string()),
                _ => return Err(Unfit::Key),
            }
            self.raw(":");
            self.value(value)?;
        }
        self.raw("}");
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        if self.buffers {
            let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
            self.raw(&format!("{{\"type\":\"Buffer\",\"data\":[{}]}}", bytes.join(",")));
            return Ok(());
        }
        if self.attachments.len() == MOST_ATTACHMENTS {
            return Err(Unfit::Attachments(MOST_ATTACHMENTS));
        }
        let number = self.attachments.len();
        self.raw(&format!("{{\"_placeholder\":true,\"num\":{number}}}"));
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    /// As JavaScript writes a number: `1`, not `1.0`.
    fn float(&mut self, number: f64) {
        if !number.is_finite() {
            self.raw("null");
        } else if number.fract() == 0.0 && number.abs() < PLAIN {
            self.raw(&format!("{}", number as i128));
        } else {
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut self.json, &number);
        }
    }

    fn text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut self.json, text);
    }

    fn raw(&mut self, json: &str) {
        let _ = self.json.write_all(json.as_bytes());
    }
}

/// A date, as `Date.prototype.toJSON` writes it.
fn date(kind: i8, bytes: &[u8]) -> Option<String> {
    let nanoseconds = match (kind, bytes) {
        (TIMESTAMP, bytes) => timestamp(bytes)?,
        (OLDER, bytes) => i128::from(i64::from_be_bytes(bytes.try_into().ok()?)) * 1_000_000,
        _ => return None,
    };
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, millisecond) = at.to_hms_milli();
    let time = format!("{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z");
    (0..=9999).contains(&year).then(|| format!("{year:04}-{:02}-{day:02}T{time}", u8::from(month)))
}

/// Nanoseconds since the Unix epoch in a timestamp of msgpack, of 4, 8 or 12 bytes.
fn timestamp(bytes: &[u8]) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    match bytes.len() {
        4 => Some(i128::from(u32::from_be_bytes(bytes.try_into().ok()?)) * SECOND),
        8 => {
            let packed = u64::from_be_bytes(bytes.try_into().ok()?);
            Some(i128::from(packed & ((1 << 34) - 1)) * SECOND + i128::from(packed >> 34))
        }
        12 => {
            let (nanoseconds, seconds) = bytes.split_at(4);
            let nanoseconds = u32::from_be_bytes(nanoseconds.try_into().ok()?);
            Some(i128::from(i64::from_be_bytes(seconds.try_into().ok()?)) * SECOND + i128::from(nanoseconds))
        }
        _ => None,
    }
}
