#![no_main]

use std::iter::Peekable;
use std::slice::Iter;

use libfuzzer_sys::fuzz_target;
use midplane::protocol::fossil::{apply, patch};

const LIMIT: usize = 1 << 16;
const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

// Two texts, and a third that shares pieces with the first, which two random ones never do.
fuzz_target!(|input: (&[u8], &[u8], Vec<(u8, u8, u8)>)| {
    let (base, target, pieces) = input;
    makes(base, target);
    let mut moved = Vec::new();
    for (from, length, put) in pieces {
        let from = usize::from(from).min(base.len());
        let end = (from + usize::from(length)).min(base.len());
        moved.extend_from_slice(&base[from..end]);
        moved.push(put);
    }
    makes(base, &moved);
    // What was not written as a patch.
    assert_eq!(apply(base, target, LIMIT).ok(), Reader::new(base, target).read(), "one decoder reads as the other does");
});

fn makes(base: &[u8], target: &[u8]) {
    let Some(patch) = patch(base, target) else { return };
    assert!(patch.len() < target.len(), "smaller than what it makes");
    assert!(str::from_utf8(target).is_err() || str::from_utf8(&patch).is_ok(), "patches of texts are texts");
    assert_eq!(apply(base, &patch, target.len()).as_deref(), Ok(target));
    assert_eq!(Reader::new(base, &patch).read().as_deref(), Some(target));
}

/// A second decoder, from the format's description, a sign at a time.
struct Reader<'a> {
    base: &'a [u8],
    rest: Peekable<Iter<'a, u8>>,
}

impl<'a> Reader<'a> {
    fn new(base: &'a [u8], patch: &'a [u8]) -> Self {
        Self { base, rest: patch.iter().peekable() }
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let size = self.number().filter(|size| *size <= LIMIT)?;
        self.sign(b'\n')?;
        let mut made = Vec::new();
        loop {
            let count = self.number()?;
            match self.rest.next()? {
                b'@' => {
                    let from = self.number()?;
                    self.sign(b',')?;
                    made.extend(self.base.get(from..from + count)?);
                }
                b':' => {
                    for _ in 0..count {
                        made.push(*self.rest.next()?);
                    }
                }
                b';' => {
                    let sound = made.len() == size && self.rest.next().is_none() && count == checksum(&made);
                    return sound.then_some(made);
                }
                _ => return None,
            }
            if made.len() > size {
                return None;
            }
        }
    }

    fn sign(&mut self, wanted: u8) -> Option<()> {
        (*self.rest.next()? == wanted).then_some(())
    }

    fn number(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.rest.peek().and_then(|sign| DIGITS.iter().position(|digit| digit == *sign)) {
            self.rest.next();
            value = Some(value.unwrap_or(0) * 64 + digit);
            if value > Some(u32::MAX as usize) {
                return None;
            }
        }
        value
    }
}

fn checksum(bytes: &[u8]) -> usize {
    let sum = bytes.iter().enumerate().fold(0_u32, |sum, (index, byte)| {
        sum.wrapping_add(u32::from(*byte) << (24 - index % 4 * 8))
    });
    sum as usize
}
