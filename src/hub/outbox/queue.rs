//! The frames that wait for a socket, in order, the first of them perhaps written in part.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

/// Frames given to the socket in one write.
const SLICES: usize = 64;

/// Where an outbox writes to. Never blocks: answers `WouldBlock` when the socket is full.
pub trait Wire: Send + Sync {
    /// Writes as much of `frames` as goes at once; returns the number of bytes taken.
    ///
    /// # Errors
    /// `WouldBlock` when nothing goes now; anything else means that the connection is gone.
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Frames that wait.
#[derive(Default)]
pub(super) struct Queue {
    frames: VecDeque<Bytes>,
    /// Bytes of the first frame that are written already.
    front_written: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn into_frames(self) -> impl Iterator<Item = Bytes> {
        self.frames.into_iter()
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.frames.push_back(frame);
    }

    pub(super) fn extend(&mut self, frames: impl IntoIterator<Item = Bytes>) {
        self.frames.extend(frames);
    }

    /// Throws away everything but a frame that is half written; returns how many bytes of that are left.
    pub(super) fn keep_half_written(&mut self) -> usize {
        self.frames.truncate(usize::from(self.front_written > 0));
        self.frames.front().map_or(0, |frame| frame.len() - self.front_written)
    }

    /// Writes what goes at once; returns the number of bytes taken.
    pub(super) fn write_to(&mut self, wire: &dyn Wire) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            let start = if count == 0 { self.front_written } else { 0 };
            *slice = IoSlice::new(&frame[start..]);
            count += 1;
        }
        let written = wire.try_write_vectored(&slices[..count])?;
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.frames.front() {
            let rest = front.len() - self.front_written;
            if written < rest {
                self.front_written += written;
                return;
            }
            written -= rest;
            self.front_written = 0;
            self.frames.pop_front();
        }
    }
}
