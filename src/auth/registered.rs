//! The claims that every token may have (RFC 7519, section 4.1), and what they must say.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{TokenError, options};
use crate::clock::unix_seconds;
use crate::settings::TokenKeys;

/// What the settings demand of tokens, beyond a signature.
#[derive(Debug)]
pub struct Demands {
    audience: Option<String>,
    issuer: Option<String>,
    leeway: Duration,
    /// `None` is `sub`.
    user_claim: Option<String>,
}

/// The registered claims of a token that satisfies the demands.
#[derive(Debug)]
pub struct Registered {
    pub user: String,
    pub expires_at: Option<u64>,
    pub issued_at: Option<u64>,
    pub token_id: Option<String>,
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
    #[serde(default)]
    exp: Option<NumericDate>,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    iat: Option<NumericDate>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(borrow, default)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    aud: Option<Audience<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(Vec<String>),
}

impl Demands {
    pub fn new(settings: &TokenKeys) -> Self {
        Self {
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway,
            user_claim: settings.user_id_claim.clone().filter(|name| name != "sub"),
        }
    }

    /// Reads the claims in `payload` and holds them against the demands, now.
    pub fn check(&self, payload: &[u8]) -> Result<Registered, TokenError> {
        let claims: Claims<'_> = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
        if self.issuer.is_some() && claims.iss.as_deref() != self.issuer.as_deref() {
            return Err(TokenError::Issuer);
        }
        if let Some(wanted) = &self.audience
            && !claims.aud.as_ref().is_some_and(|audience| audience.includes(wanted))
        {
            return Err(TokenError::Audience);
        }
        self.check_times(&claims)?;
        let user = match &self.user_claim {
            None => claims.sub.unwrap_or_default().into_owned(),
            Some(name) => user_in(payload, name)?,
        };
        let claim = || self.user_claim.clone().unwrap_or_else(|| "sub".to_owned());
        Ok(Registered {
            user: options::user(user).map_err(|_| TokenError::Claim(claim(), "it has more than 1 KiB"))?,
            expires_at: claims.exp.map(|date| date.0),
            issued_at: claims.iat.map(|date| date.0),
            token_id: claims.jti,
        })
    }

    fn check_times(&self, claims: &Claims<'_>) -> Result<(), TokenError> {
        let now = unix_seconds();
        let leeway = self.leeway.as_secs();
        if claims.exp.as_ref().is_some_and(|exp| now >= exp.0.saturating_add(leeway)) {
            return Err(TokenError::Expired);
        }
        if claims.nbf.as_ref().is_some_and(|nbf| now.saturating_add(leeway) < nbf.0) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

impl Audience<'_> {
    fn includes(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}

/// The user's id in the claim that the settings name. Whole numbers are taken as they are written, since it is for ids
/// that some other system gives out; without the claim nobody knows who this is.
fn user_in(payload: &[u8], name: &str) -> Result<String, TokenError> {
    let claims: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(payload).map_err(TokenError::Claims)?;
    let value = claims.get(name).ok_or_else(|| TokenError::Claim(name.to_owned(), "it is missing"))?.get();
    if value.parse::<i64>().is_ok() {
        return Ok(value.to_owned());
    }
    serde_json::from_str(value)
        .map_err(|_| TokenError::Claim(name.to_owned(), "it is neither a string nor a whole number"))
}

/// A `NumericDate`: Unix seconds, perhaps with a fraction (RFC 7519, section 2), which is dropped.
#[derive(Debug, Clone, Copy)]
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Date;
        impl Visitor<'_> for Date {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the Unix epoch")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                Ok(NumericDate(seconds))
            }

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "what is left after the check fits, and the fraction is meant to go"
            )]
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // Above 2^53 a float cannot tell one second from the next.
                if (0.0..9_007_199_254_740_992.0).contains(&seconds) {
                    Ok(NumericDate(seconds as u64))
                } else {
                    Err(E::custom("not a time since the Unix epoch"))
                }
            }
        }
        deserializer.deserialize_any(Date)
    }
}
