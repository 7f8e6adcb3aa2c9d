//! Which web pages may open connections from a visitor's browser.
//!
//! Browsers let every page open a WebSocket to us and name the page in `Origin`; nothing else holds a foreign page back
//! from speaking in a visitor's name. Who is no browser sends no `Origin` and is let through: it could claim any.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, header};
use tracing::warn;

use crate::settings::OriginPattern;
use crate::telemetry::Pace;

/// The allowed origins.
#[derive(Debug)]
pub struct Origins {
    allowed: Vec<Pattern>,
    /// Pages that come from this machine, any scheme and port. A page's *name* decides: a foreign name that resolves
    /// to loopback is not one of them.
    loopback: bool,
    /// Of lines about pages that may not come in.
    foreign: Pace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Of(Origin),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` is the scheme's own port.
    port: Option<String>,
}

impl Origins {
    /// Origins that match one of `patterns`, and in development those of this machine. With neither, no page is let in.
    #[must_use]
    pub fn new(patterns: &[OriginPattern], development: bool) -> Self {
        let allowed = patterns.iter().filter_map(|OriginPattern(text)| match text.as_str() {
            "*" => Some(Pattern::Any),
            text => Origin::parse(text.trim_end_matches('/')).map(Pattern::Of),
        });
        Self { allowed: allowed.collect(), loopback: development, foreign: Pace::default() }
    }

    /// Whether a request with these headers may come in.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => {
                let allowed = origin.to_str().is_ok_and(|origin| self.allow_origin(origin));
                if !allowed && let Some(left_out) = self.foreign.due() {
                    warn!(?origin, left_out, "a page of this origin is not let in (client.allowed_origins)");
                }
                allowed
            }
            (Some(_), Some(_)) => false,
        }
    }

    /// Whether a page shows or loads the request's answer without reading it: a picture, a script, a link. Browsers send
    /// no `Origin` then, yet they send cookies, and a connection must not begin in a visitor's name unasked.
    #[must_use]
    pub fn embeds(&self, headers: &HeaderMap) -> bool {
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match said("sec-fetch-mode") {
            // Typed into the address bar it comes from no page.
            "navigate" => said("sec-fetch-site") != "none",
            "no-cors" | "nested-navigate" => true,
            _ => false,
        }
    }

    fn allow_origin(&self, text: &str) -> bool {
        if self.allowed.contains(&Pattern::Any) {
            return true;
        }
        // `null` (a sandboxed frame, a local file) is no origin that can be told from others.
        let Some(origin) = Origin::parse(text).filter(Origin::has_no_rubbish) else { return false };
        let listed = |pattern: &Pattern| matches!(pattern, Pattern::Of(pattern) if pattern.covers(&origin));
        self.allowed.iter().any(listed) || (self.loopback && origin.is_loopback())
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = match authority.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if scheme.is_empty() || host.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return None;
        }
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        let port = port.filter(|port| Some(*port) != default_port(&scheme)).map(str::to_owned);
        Some(Self { scheme, host, port })
    }

    /// Whether host and port are what a page's can be: with anything else in them a pattern's star would have to be
    /// weighed against how others read it.
    fn has_no_rubbish(&self) -> bool {
        let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_ipv6 = |host: &str| {
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        };
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
        (is_name(&self.host) || is_ipv6(&self.host)) && self.port.as_deref().is_none_or(is_port)
    }

    fn covers(&self, origin: &Self) -> bool {
        let ports = match (&self.port, &origin.port) {
            (None, None) => true,
            (Some(pattern), Some(port)) => glob(pattern, port),
            (Some(pattern), None) => glob(pattern, default_port(&origin.scheme).unwrap_or_default()),
            (None, Some(_)) => false,
        };
        ports && glob(&self.scheme, &origin.scheme) && glob(&self.host, &origin.host)
    }

    fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }
}

fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        "http" | "ws" => Some("80"),
        "https" | "wss" => Some("443"),
        _ => None,
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any characters, or none.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(patterns: &[&str], development: bool, origin: Option<&str>) -> bool {
        let patterns: Vec<_> = patterns.iter().map(|pattern| OriginPattern((*pattern).to_owned())).collect();
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        Origins::new(&patterns, development).allow(&headers)
    }

    #[test]
    fn patterns_match_scheme_host_and_port() {
        for (pattern, origin, allowed) in [
            ("https://app.example.com", "https://app.example.com", true),
            ("https://app.example.com", "https://APP.example.com", true),
            ("https://app.example.com/", "https://app.example.com", true),
            ("https://app.example.com", "https://app.example.com:443", true),
            ("https://app.example.com:443", "https://app.example.com", true),
            ("https://app.example.com", "http://app.example.com", false),
            ("https://app.example.com", "https://app.example.com:8443", false),
            ("https://app.example.com", "https://app.example.com.evil.org", false),
            ("https://app.example.com", "https://evil.org/https://app.example.com", false),
            ("https://app.example.com", "https://app.example.com@evil.org", false),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://evil-example.com", false),
            ("https://*.example.com", "https://evil.org:1/.example.com", false),
            ("*://example.com", "http://example.com", true),
            ("http://localhost:*", "http://localhost:5173", true),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost", "http://localhost:5173", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("http://[::1]:3000", "http://[::1]", false),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("*", "https://anything.example", true),
            ("*", "null", true),
            ("https://app.example.com", "null", false),
            ("no pattern", "https://app.example.com", false),
        ] {
            assert_eq!(allows(&[pattern], false, Some(origin)), allowed, "{pattern} {origin}");
        }
    }

    #[test]
    fn without_patterns_only_development_lets_pages_in_and_only_local_ones() {
        for (origin, in_development) in [
            ("http://localhost:8000", true),
            ("http://127.0.0.1:8000", true),
            ("http://[::1]:8000", true),
            ("https://app.localhost", true),
            ("http://localhost.evil.org", false),
            ("https://example.com", false),
            ("null", false),
        ] {
            assert_eq!(allows(&[], true, Some(origin)), in_development, "{origin}");
            assert!(!allows(&[], false, Some(origin)), "{origin}");
        }
    }

    #[test]
    fn what_a_page_only_shows_is_told_apart() {
        for (mode, site, embedded) in [
            ("no-cors", "cross-site", true),
            ("no-cors", "same-origin", true),
            ("navigate", "cross-site", true),
            ("navigate", "none", false),
            ("cors", "cross-site", false),
            ("same-origin", "same-origin", false),
            ("", "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-mode", mode.parse().unwrap());
            headers.insert("sec-fetch-site", site.parse().unwrap());
            assert_eq!(Origins::new(&[], true).embeds(&headers), embedded, "{mode} {site}");
        }
    }

    #[test]
    fn who_is_no_browser_passes_and_two_origins_do_not() {
        assert!(allows(&["https://example.com"], false, None));
        assert!(allows(&[], false, None));
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, "https://example.com".parse().unwrap());
        headers.append(header::ORIGIN, "https://example.com".parse().unwrap());
        assert!(!Origins::new(&[OriginPattern("https://example.com".into())], false).allow(&headers));
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, matches) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("*", "", true),
            ("a", "ab", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}
