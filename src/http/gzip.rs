//! Answers that are compressed for whoever takes gzip (RFC 9110, 8.4 and 12.5.3).

use std::io::Write;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// `body`, compressed if it is worth it, and whoever asks with these headers takes that.
pub(super) fn answer(asked: &HeaderMap, body: Bytes, from: Option<usize>) -> Response {
    let compress = from.is_some_and(|from| body.len() >= from);
    let mut response = match compress && accepts(asked) {
        true => {
            let mut response = compressed(&body).into_response();
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        false => body.into_response(),
    };
    if compress {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// Whether somebody takes gzip. Who says nothing of it takes none.
fn accepts(asked: &HeaderMap) -> bool {
    let codings = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "x-gzip");
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_gzip && weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::body::to_bytes;
    use flate2::read::GzDecoder;

    use super::*;

    fn asked(coding: &'static str) -> HeaderMap {
        [(header::ACCEPT_ENCODING, HeaderValue::from_static(coding))].into_iter().collect()
    }

    #[test]
    fn gzip_goes_to_whom_it_is_welcome() {
        for (coding, welcome) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5, br", true),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("", false),
        ] {
            assert_eq!(accepts(&asked(coding)), welcome, "{coding}");
        }
        assert!(!accepts(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn what_is_long_enough_is_compressed_and_says_so() {
        let body = Bytes::from("word ".repeat(1000));
        let response = answer(&asked("gzip"), body.clone(), Some(1024));
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
        let sent = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let mut read = Vec::new();
        GzDecoder::new(&sent[..]).read_to_end(&mut read).unwrap();
        assert!(sent.len() < body.len() / 10 && read == body);
        for plain in [
            answer(&asked("gzip"), "short".into(), Some(1024)),
            answer(&asked("gzip"), body.clone(), None),
            answer(&asked("br"), body, Some(1024)),
        ] {
            assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        }
    }
}
