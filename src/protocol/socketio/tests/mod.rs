mod engine;
mod golden;
mod refused;
mod round_trip;

use bytes::Bytes;

use super::*;

fn text(text: &str) -> Message {
    Message::Text(Bytes::copy_from_slice(text.as_bytes()))
}

/// The packet that a text is by itself.
fn packet(packet: &str) -> Result<Packet, PacketError> {
    let decoded = Decoder::new(100).take(text(packet))?;
    Ok(decoded.unwrap_or_else(|| panic!("{packet} waits for attachments")))
}

fn event(id: Option<u64>, json: &'static str, attachments: &[&'static [u8]]) -> Body {
    let attachments = attachments.iter().map(|attachment| Bytes::from_static(attachment)).collect();
    Body::Event { id, arguments: Arguments::event(&Bytes::from_static(json.as_bytes()), attachments).unwrap() }
}

fn ack(id: u64, json: &'static str, attachments: &[&'static [u8]]) -> Body {
    let attachments = attachments.iter().map(|attachment| Bytes::from_static(attachment)).collect();
    Body::Ack { id, arguments: Arguments::ack(&Bytes::from_static(json.as_bytes()), attachments).unwrap() }
}

fn within(namespace: &'static str, body: Body) -> Packet {
    Packet { namespace: namespace.into(), body }
}
