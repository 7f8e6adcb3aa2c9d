//! A session on its way to another node, as bytes: what its handler packed, and the frames that wait for the client.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a session leaves to the node that goes on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// What its handler says of it.
    pub packed: Bytes,
    /// In order; those from `known` on were appended since the other node first heard of the session, and may have come
    /// there as well.
    pub frames: Vec<Bytes>,
    pub known: usize,
    /// When the client wants to be pinged next: it counts from the last time.
    pub ping_in: Duration,
}

impl Handover {
    pub(super) fn encode(&self) -> Bytes {
        let frames: usize = self.frames.iter().map(|frame| 4 + frame.len()).sum();
        let mut encoded = BytesMut::with_capacity(12 + self.packed.len() + frames);
        encoded.put_u32(u32::try_from(self.known).unwrap_or(u32::MAX));
        encoded.put_u32(u32::try_from(self.ping_in.as_millis()).unwrap_or(u32::MAX));
        for piece in std::iter::once(&self.packed).chain(&self.frames) {
            encoded.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            encoded.put_slice(piece);
        }
        encoded.freeze()
    }

    pub(super) fn decode(mut encoded: Bytes) -> Option<Self> {
        let known = usize::try_from(encoded.try_get_u32().ok()?).ok()?;
        let ping_in = Duration::from_millis(encoded.try_get_u32().ok()?.into());
        let mut pieces = Vec::new();
        while encoded.has_remaining() {
            let length = usize::try_from(encoded.try_get_u32().ok()?).ok()?;
            if length > encoded.len() {
                return None;
            }
            pieces.push(encoded.split_to(length));
        }
        let mut pieces = pieces.into_iter();
        let packed = pieces.next()?;
        let frames: Vec<_> = pieces.collect();
        (known <= frames.len()).then_some(Self { packed, frames, known, ping_in })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_arrives_whole_or_not_at_all() {
        let handover = Handover {
            packed: Bytes::from_static(b"{}"),
            frames: ["one", "", "three"].map(Bytes::from).to_vec(),
            known: 2,
            ping_in: Duration::from_secs(20),
        };
        let encoded = handover.encode();
        assert_eq!(Handover::decode(encoded.clone()), Some(handover));
        for end in [0, 3, 7, 9, encoded.len() - 1] {
            assert_eq!(Handover::decode(encoded.slice(..end)), None, "{end}");
        }
        let mut known = encoded.to_vec();
        known[3] = 4;
        assert_eq!(Handover::decode(known.into()), None);
    }
}
