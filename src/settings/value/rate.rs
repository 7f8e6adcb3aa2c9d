//! Rates: so much of something in a time, and how much at once.

use config::Value;

use super::super::model::Rate;
use super::{Bytes, FromValue, Wrong, text};

/// How often something may be done, or "off" for any number of times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Limit(pub Option<Rate>);

impl FromValue for Limit {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        limit(text(value)?, |number| number.parse().ok(), |burst| burst.parse().ok())
            .map(Self)
            .ok_or_else(|| "not a rate (try \"20/s\" or \"20/s burst 100\")".to_owned())
    }
}

/// How many bytes may come, or "off" for any number of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct ByteLimit(pub Option<Rate>);

impl FromValue for ByteLimit {
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let whole = |size: &str| u32::try_from(Bytes::parse(size)?.0).ok();
        limit(text(value)?, |size| whole(size).map(f64::from), whole)
            .map(Self)
            .ok_or_else(|| "not a rate of bytes (try \"64KiB/s burst 1MiB\")".to_owned())
    }
}

/// `<amount>/<unit of time>`, and `burst <amount>` behind it where not as much as in a second comes at once.
fn limit(
    text: &str,
    amount: impl Fn(&str) -> Option<f64>,
    at_once: impl Fn(&str) -> Option<u32>,
) -> Option<Option<Rate>> {
    if matches!(text, "" | "off") {
        return Some(None);
    }
    let mut words = text.split_whitespace();
    let (number, unit) = words.next()?.split_once('/')?;
    let number = amount(number).filter(|number| number.is_finite() && *number > 0.0)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let per_second = number / seconds;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is positive")]
    let whole = per_second.ceil() as u32;
    let burst = match (words.next(), words.next(), words.next()) {
        (None, None, None) => whole,
        (Some("burst"), Some(burst), None) => at_once(burst).filter(|burst| *burst > 0)?,
        _ => return None,
    };
    Some(Some(Rate { per_second, burst }))
}
