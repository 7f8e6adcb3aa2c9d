//! The transports.

use super::super::model::{Transport, Transports};
use super::super::section::Section;
use super::super::value::{Bytes, Limit};
use crate::protocol::websocket::Deflate;

pub(super) fn read(root: &Section<'_>) -> Transports {
    Transports {
        websocket_deflate: deflate(&root.section("websocket")),
        http_stream: transport(&root.section("http_stream"), "max_request_body_size"),
        sse: transport(&root.section("sse"), "max_request_body_size"),
        uni_http_stream: transport(&root.section("uni_http_stream"), "max_request_body_size"),
        uni_sse: transport(&root.section("uni_sse"), "max_request_body_size"),
        uni_websocket: transport(&root.section("uni_websocket"), "message_size_limit"),
        emulation_body_limit: size(&root.section("emulation"), "max_request_body_size"),
        emulation_rate: root.section("emulation").take::<Limit>("rate").0,
    }
}

fn deflate(section: &Section<'_>) -> Option<Deflate> {
    let enabled: bool = section.take("compression");
    let level: usize = section.take("compression_level");
    if !(1..=9).contains(&level) {
        section.refuse("compression_level", "not between 1, quick, and 9, small");
    }
    let Bytes(min_size) = section.take("compression_min_size");
    let deflate = Deflate { level: level.min(9) as u8, min_size: u32::try_from(min_size).unwrap_or(u32::MAX) };
    enabled.then_some(deflate)
}

fn transport(section: &Section<'_>, limit: &'static str) -> Transport {
    Transport { enabled: section.take("enabled"), request_limit: size(section, limit) }
}

fn size(section: &Section<'_>, key: &'static str) -> usize {
    let Bytes(size) = section.take(key);
    if size < 1024 {
        section.refuse(key, "too small for a connect command (try \"64KiB\")");
    }
    size
}
