//! What a client offers to extend the protocol by, and what is taken of it (RFC 6455, 9.1; RFC 7692, 7.1).

const NAME: &str = "permessage-deflate";

/// The answer to whoever cares, and to whoever does not, how far back compressed messages refer.
const ANSWERS: [&str; 2] = [
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
];

/// Offers that no client may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed Sec-WebSocket-Extensions")]
pub struct MalformedOffers;

/// The answer to the first of a client's offers that can be taken, which is to compress messages one by one. `offers` are
/// the values of `Sec-WebSocket-Extensions`.
///
/// # Errors
/// Where they are no offers at all, whatever of: the client is not to be served.
pub fn negotiate<'a>(offers: impl IntoIterator<Item = &'a str>) -> Result<Option<&'static str>, MalformedOffers> {
    let mut taken = None;
    for list in offers {
        let mut scanner = Scanner(list);
        while let Some(offer) = scanner.offer()? {
            taken = taken.or_else(|| answer(&offer));
        }
    }
    Ok(taken)
}

struct Offer<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<String>)>,
}

/// `None` where an offer has to be declined: it is of something else, or asks for what is not known, or not done.
fn answer(offer: &Offer<'_>) -> Option<&'static str> {
    if offer.name != NAME {
        return None;
    }
    let mut answer = ANSWERS[0];
    for (index, (name, value)) in offer.parameters.iter().enumerate() {
        let twice = offer.parameters[..index].iter().any(|(before, _)| before == name);
        match (*name, value.as_deref()) {
            _ if twice => return None,
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            // The client is left its full window: what it says is read by whoever has the time, one message after another.
            ("client_max_window_bits", Some(bits)) if is_window(bits) => {}
            // With a smaller window a message would have to be compressed once more, for this client alone.
            ("server_max_window_bits", Some("15")) => answer = ANSWERS[1],
            _ => return None,
        }
    }
    Some(answer)
}

fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// What is left of a list of offers.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// The next offer; `None` behind the last.
    fn offer(&mut self) -> Result<Option<Offer<'a>>, MalformedOffers> {
        // Lists may have empty places.
        while self.takes(',') {}
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut offer = Offer { name: self.token()?, parameters: Vec::new() };
        while self.takes(';') {
            let name = self.token()?;
            let value = if self.takes('=') { Some(self.value()?) } else { None };
            offer.parameters.push((name, value));
        }
        if self.0.is_empty() || self.takes(',') { Ok(Some(offer)) } else { Err(MalformedOffers) }
    }

    /// Skips white space, and this sign where it comes next.
    fn takes(&mut self, sign: char) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0).trim_start_matches([' ', '\t']);
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a str, MalformedOffers> {
        let length = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        if token.is_empty() { Err(MalformedOffers) } else { Ok(token) }
    }

    /// A token, or one in quotes.
    fn value(&mut self) -> Result<String, MalformedOffers> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().map(str::to_owned) };
        let mut value = String::new();
        let mut signs = quoted.char_indices();
        loop {
            match signs.next().ok_or(MalformedOffers)? {
                (end, '"') => {
                    self.0 = &quoted[end + 1..];
                    break;
                }
                (_, '\\') => value.push(signs.next().ok_or(MalformedOffers)?.1),
                (_, sign) => value.push(sign),
            }
        }
        if !value.is_empty() && value.chars().all(is_token) { Ok(value) } else { Err(MalformedOffers) }
    }
}

const fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '^'..='`' | '|' | '~')
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn taken(offers: &str) -> Option<&'static str> {
        negotiate([offers]).unwrap()
    }

    #[test]
    fn what_browsers_and_libraries_offer_is_taken() {
        for offers in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=10 ; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=\"1\\5\"",
            "x-webkit-deflate-frame, permessage-deflate",
            ", ,permessage-bzip2; level=9,,permessage-deflate,",
        ] {
            assert_eq!(taken(offers), Some(ANSWERS[0]), "{offers}");
        }
        assert_eq!(taken("permessage-deflate; server_max_window_bits=15"), Some(ANSWERS[1]));
        assert_eq!(taken("permessage-deflate; server_max_window_bits=10, permessage-deflate"), Some(ANSWERS[0]));
        assert_eq!(negotiate(["x-other", "permessage-deflate"]), Ok(Some(ANSWERS[0])), "in two headers");
    }

    #[test]
    fn an_offer_that_is_not_understood_is_declined() {
        for offers in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=+9",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; level=9",
        ] {
            assert_eq!(taken(offers), None, "{offers}");
        }
    }

    #[test]
    fn what_is_no_list_of_offers_is_malformed() {
        for offers in [
            ";",
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a=\"b\\",
            "permessage deflate",
            "permessage-deflate, other=1",
            "ä",
        ] {
            assert_eq!(negotiate([offers]), Err(MalformedOffers), "{offers}");
        }
    }

    /// Parameters as they may stand in an offer, and whether they may be taken.
    fn parameter() -> impl Strategy<Value = (&'static str, bool)> {
        prop::sample::select(vec![
            ("server_no_context_takeover", true),
            ("client_no_context_takeover", true),
            ("client_max_window_bits", true),
            ("client_max_window_bits=12", true),
            ("server_max_window_bits=15", true),
            ("server_max_window_bits=9", false),
            ("client_max_window_bits=99", false),
            ("novelty", false),
            ("novelty=\"a\"", false),
        ])
    }

    proptest! {
        #[test]
        fn the_first_offer_that_can_be_taken_is(offers in vec((any::<bool>(), vec(parameter(), 0..4)), 0..4)) {
            let rendered = offers.iter().map(|(ours, parameters)| {
                let name = if *ours { NAME } else { "another" };
                parameters.iter().fold(name.to_owned(), |text, (parameter, _)| format!("{text} ; {parameter}"))
            });
            let rendered = rendered.collect::<Vec<_>>().join(" , ");
            let first = offers.iter().find(|(ours, parameters)| {
                let mut names: Vec<_> = parameters.iter().map(|(text, _)| text.split('=').next()).collect();
                names.sort_unstable();
                names.dedup();
                *ours && names.len() == parameters.len() && parameters.iter().all(|(_, good)| *good)
            });
            let wide = |(_, parameters): &(bool, Vec<(&str, bool)>)| {
                ANSWERS[usize::from(parameters.iter().any(|(text, _)| text.starts_with("server_max")))]
            };
            prop_assert_eq!(negotiate([&*rendered]), Ok(first.map(wide)));
        }

        #[test]
        fn any_text_is_judged(text in ".{0,80}") {
            let _ = negotiate([&*text]);
        }
    }
}
