//! One message, encoded at most once for each wire.

use std::cell::OnceCell;

use bytes::Bytes;

use crate::protocol::centrifuge::Encoding;

/// A message as whole frames. Encodes on first use, so a wire that nobody listens on costs nothing.
pub struct Frames<'a> {
    json: OnceCell<Option<Bytes>>,
    protobuf: OnceCell<Option<Bytes>>,
    encode: Option<Box<dyn Fn(Encoding) -> Option<Bytes> + Send + 'a>>,
}

impl<'a> Frames<'a> {
    /// `encode` makes the whole frame for one wire; `None` when the wire cannot carry the message.
    #[must_use]
    pub fn new(encode: impl Fn(Encoding) -> Option<Bytes> + Send + 'a) -> Self {
        Self { json: OnceCell::new(), protobuf: OnceCell::new(), encode: Some(Box::new(encode)) }
    }

    /// A message that nobody gets.
    #[must_use]
    pub const fn withheld() -> Self {
        Self { json: OnceCell::new(), protobuf: OnceCell::new(), encode: None }
    }

    /// Whether nobody gets it.
    #[must_use]
    pub const fn is_withheld(&self) -> bool {
        self.encode.is_none()
    }

    /// Encodes now what would be encoded on first use.
    pub fn prepare(&self, encodings: impl IntoIterator<Item = Encoding>) {
        for encoding in encodings {
            self.get(encoding);
        }
    }

    /// The frame for one wire; `None` when the wire cannot carry the message.
    pub fn get(&self, encoding: Encoding) -> Option<&Bytes> {
        let cell = match encoding {
            Encoding::Json => &self.json,
            Encoding::Protobuf => &self.protobuf,
        };
        cell.get_or_init(|| self.encode.as_ref().and_then(|encode| encode(encoding))).as_ref()
    }
}
