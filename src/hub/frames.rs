//! One message, encoded at most once for each format.

use std::cell::OnceCell;

use bytes::Bytes;

use crate::protocol::centrifuge::Format;

/// A message as whole frames. Encodes on first use, so a format that nobody listens in costs nothing.
pub struct Frames<'a> {
    made: [OnceCell<Option<Bytes>>; Format::ALL.len()],
    encode: Option<Box<dyn Fn(Format) -> Option<Bytes> + Send + 'a>>,
}

impl<'a> Frames<'a> {
    /// `encode` makes the whole frame in one format; `None` when that cannot carry the message.
    #[must_use]
    pub fn new(encode: impl Fn(Format) -> Option<Bytes> + Send + 'a) -> Self {
        Self { made: [const { OnceCell::new() }; Format::ALL.len()], encode: Some(Box::new(encode)) }
    }

    /// A message that nobody gets.
    #[must_use]
    pub const fn withheld() -> Self {
        Self { made: [const { OnceCell::new() }; Format::ALL.len()], encode: None }
    }

    /// Whether nobody gets it.
    #[must_use]
    pub const fn is_withheld(&self) -> bool {
        self.encode.is_none()
    }

    /// Encodes now what would be encoded on first use.
    pub fn prepare(&self, formats: impl IntoIterator<Item = Format>) {
        for format in formats {
            self.get(format);
        }
    }

    /// The frame in one format; `None` when that cannot carry the message.
    pub fn get(&self, format: Format) -> Option<&Bytes> {
        let made = &self.made[format.index()];
        made.get_or_init(|| self.encode.as_ref().and_then(|encode| encode(format))).as_ref()
    }
}
