//! One message, encoded at most once for each format and shape.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::outbox::{Outbox, Spill};
use crate::protocol::centrifuge::{Encoding, Format};
use crate::protocol::{Offset, fossil};

/// What a listener's message looks like, beside its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'a> {
    /// As everybody gets it who asked for nothing else.
    Plain,
    /// Whole, for whoever gets patches: data that is JSON travels as a text, as patches do.
    Whole,
    /// What to change in the message before.
    Patch(&'a Bytes),
}

/// Names one of a channel's messages, so that a patch is never applied to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Mark {
    /// No message.
    pub const NONE: Self = Self(0);

    /// The message stored there.
    #[must_use]
    pub const fn stored(offset: Offset) -> Self {
        Self(offset.0 << 1)
    }

    /// One that was not stored, by its number on this node.
    pub(super) const fn passing(number: u64) -> Self {
        Self(number << 1 | 1)
    }
}

/// A message that the next one can be a patch against.
#[derive(Debug, Clone)]
pub struct Base {
    pub mark: Mark,
    pub data: Bytes,
}

/// What a message consists of, as far as it matters who gets it.
#[derive(Clone, Copy, Default)]
pub struct Content<'a> {
    pub data: Option<&'a Bytes>,
    pub tags: &'a [(String, String)],
}

type Made = [OnceCell<Option<Bytes>>; Format::COUNT];
type Encode<'a> = Box<dyn Fn(Format, Shape<'_>) -> Option<Bytes> + Send + 'a>;

/// A message as whole frames. Encodes on first use, so a format that nobody listens in costs nothing.
pub struct Frames<'a> {
    plain: Made,
    shaped: OnceCell<Box<Shaped>>,
    patch: Option<Patch>,
    to: Option<Addressees>,
    content: Content<'a>,
    encode: Option<Encode<'a>>,
}

/// Some of those who listen.
struct Addressees {
    /// By where they are.
    outboxes: HashMap<usize, Arc<Outbox>>,
    volatile: bool,
}

/// For listeners who get patches.
#[derive(Default)]
struct Shaped {
    whole: Made,
    patched: Made,
}

struct Patch {
    base: Mark,
    patch: Bytes,
}

impl<'a> Frames<'a> {
    /// `encode` makes the whole frame in one format and shape; `None` when that cannot carry the message.
    #[must_use]
    pub fn new(content: Content<'a>, encode: impl Fn(Format, Shape<'_>) -> Option<Bytes> + Send + 'a) -> Self {
        Self { content, encode: Some(Box::new(encode)), ..Self::withheld() }
    }

    /// A message that nobody gets.
    #[must_use]
    pub const fn withheld() -> Self {
        Self {
            plain: [const { OnceCell::new() }; Format::COUNT],
            shaped: OnceCell::new(),
            patch: None,
            to: None,
            content: Content { data: None, tags: &[] },
            encode: None,
        }
    }

    /// Gives the message as a patch to those who have `base`, where that is smaller.
    #[must_use]
    pub fn against(mut self, base: Option<&Base>) -> Self {
        if let Some((base, data)) = base.zip(self.content.data) {
            let patch = fossil::patch(&base.data, data);
            self.patch = patch.map(|patch| Patch { base: base.mark, patch: patch.into() });
        }
        self
    }

    /// Gives the message to these alone of those who listen; a `volatile` one only where nothing waits.
    #[must_use]
    pub fn only(mut self, outboxes: Vec<Arc<Outbox>>, volatile: bool) -> Self {
        let outboxes = outboxes.into_iter().map(|outbox| (Arc::as_ptr(&outbox).addr(), outbox)).collect();
        self.to = Some(Addressees { outboxes, volatile });
        self
    }

    /// What is done where its reader is too slow; `None` where it is not for this one at all.
    #[must_use]
    pub fn spill(&self, outbox: &Arc<Outbox>) -> Option<Spill<'static>> {
        match &self.to {
            None => Some(Spill::Close),
            Some(to) if !to.outboxes.contains_key(&Arc::as_ptr(outbox).addr()) => None,
            Some(to) if to.volatile => Some(Spill::Drop),
            Some(_) => Some(Spill::Close),
        }
    }

    /// Whether nobody gets it.
    #[must_use]
    pub const fn is_withheld(&self) -> bool {
        self.encode.is_none()
    }

    /// What it consists of.
    #[must_use]
    pub const fn content(&self) -> Content<'a> {
        self.content
    }

    /// Encodes now what would be encoded on first use; `deltas` for those too who get patches.
    pub fn prepare(&self, formats: impl IntoIterator<Item = Format>, deltas: bool) {
        for format in formats {
            self.plain(format);
            if deltas {
                let base = self.patch.as_ref().map_or(Mark::NONE, |patch| patch.base);
                self.delta(format, Mark::NONE);
                self.delta(format, base);
            }
        }
    }

    /// The frame in one format; `None` when that cannot carry the message.
    pub fn plain(&self, format: Format) -> Option<&Bytes> {
        self.plain[format.index()].get_or_init(|| self.make(format, Shape::Plain)).as_ref()
    }

    /// The frame for whoever gets patches, and `has` what the patch is against, or not.
    pub fn delta(&self, format: Format, has: Mark) -> Option<&Bytes> {
        let patch = self.patch.as_ref().filter(|patch| has != Mark::NONE && patch.base == has);
        let Some(patch) = patch else {
            return match format.encoding() {
                Encoding::Protobuf => self.plain(format),
                Encoding::Json => {
                    let made = &self.shaped.get_or_init(Box::default).whole[format.index()];
                    made.get_or_init(|| self.make(format, Shape::Whole)).as_ref()
                }
            };
        };
        let made = &self.shaped.get_or_init(Box::default).patched[format.index()];
        made.get_or_init(|| self.make(format, Shape::Patch(&patch.patch))).as_ref()
    }

    fn make(&self, format: Format, shape: Shape<'_>) -> Option<Bytes> {
        self.encode.as_ref().and_then(|encode| encode(format, shape))
    }
}
