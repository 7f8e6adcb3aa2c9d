//! Both wires against messages that others encoded, and against themselves.

mod commands;
mod golden;
mod pushes;
mod replies;
mod round_trip;

use bytes::Bytes;
use std::collections::BTreeMap;

use super::{ClientInfo, Publication};
use crate::protocol::Channel;

fn news() -> Channel {
    Channel::parse("news", 255).unwrap()
}

fn info() -> ClientInfo {
    let (conn_info, chan_info) = (Bytes::from_static(br#"{"name":"Ada"}"#), Bytes::from_static(b"[1]"));
    ClientInfo { user: "42".into(), client: "c1".into(), conn_info, chan_info }
}

fn publication() -> Publication {
    let tags = BTreeMap::from([("lang".into(), "de".into()), ("room".into(), "ä".into())]);
    Publication { data: (&br#"{"n":1}"#[..]).into(), info: Some(info()), offset: 44, tags, ..Default::default() }
}
