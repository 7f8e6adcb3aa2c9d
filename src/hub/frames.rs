//! One message, encoded at most once for each wire.

use std::cell::OnceCell;

use bytes::Bytes;

use crate::protocol::centrifuge::Encoding;

/// A message as whole frames. Encodes on first use, so a wire that nobody listens on costs nothing.
pub struct Frames<'a> {
    json: OnceCell<Bytes>,
    protobuf: OnceCell<Bytes>,
    encode: Box<dyn Fn(Encoding) -> Bytes + 'a>,
}

impl<'a> Frames<'a> {
    /// `encode` makes the whole frame for one wire.
    #[must_use]
    pub fn new(encode: impl Fn(Encoding) -> Bytes + 'a) -> Self {
        Self { json: OnceCell::new(), protobuf: OnceCell::new(), encode: Box::new(encode) }
    }

    /// The frame for one wire.
    #[must_use]
    pub fn get(&self, encoding: Encoding) -> &Bytes {
        let cell = match encoding {
            Encoding::Json => &self.json,
            Encoding::Protobuf => &self.protobuf,
        };
        cell.get_or_init(|| (self.encode)(encoding))
    }
}
