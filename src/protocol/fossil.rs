//! Patches in Fossil's delta format: what changed from one text to the next.
//!
//! `size "\n"`, then `n "@" offset ","` copies `n` bytes of the base, `n ":" bytes` inserts, and `checksum ";"` ends.
//! Numbers are in base 64. <https://fossil-scm.org/home/doc/tip/www/delta_format.wiki>
//!
//! Patches of texts are texts: on the JSON wire a patch travels as a string, so what is inserted never cuts a character
//! in two.

/// What a patch must save to be worth it: on the wire it is marked, and its line end is escaped.
const MARGIN: usize = 14;
/// Bytes that must be alike before a copy is looked for.
const BLOCK: usize = 16;
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// Why a patch cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FossilError {
    #[error("malformed patch")]
    Malformed,
    #[error("copies what is not there")]
    OutOfBounds,
    #[error("makes something larger than it may")]
    TooLarge,
    #[error("does not belong to this base")]
    Checksum,
}

/// What makes `target` of `base`; `None` where that would not be smaller than `target` itself.
#[must_use]
pub fn patch(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if u32::try_from(base.len().max(target.len())).is_err() || target.len() <= MARGIN {
        return None;
    }
    let mut writer = Writer::new(target);
    let alike = base.iter().zip(target).take_while(|(a, b)| a == b).count();
    let rest = base.len().min(target.len()) - alike;
    let behind = base.iter().rev().zip(target.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    writer.copy(0, 0, alike);
    let end = target.len() - behind;
    if end - writer.written >= BLOCK && base.len() >= BLOCK {
        copy_blocks(&mut writer, base, end);
    }
    writer.copy(base.len() - behind, end, behind);
    writer.finish()
}

/// Copies what is found anywhere in `base` up to `end` of the target.
fn copy_blocks(writer: &mut Writer<'_>, base: &[u8], end: usize) {
    let target = writer.target;
    let blocks = Blocks::of(base);
    let mut at = writer.written;
    while at + BLOCK <= end {
        let Some(mut from) = blocks.find(base, &target[at..at + BLOCK]) else {
            at += 1;
            continue;
        };
        let mut start = at;
        while start > writer.written && from > 0 && base[from - 1] == target[start - 1] {
            (start, from) = (start - 1, from - 1);
        }
        let length = base[from..].iter().zip(&target[start..end]).take_while(|(a, b)| a == b).count();
        writer.copy(from, start, length);
        at = writer.written.max(at + 1);
    }
}

/// Where each block of the base lies, by what is in it.
struct Blocks {
    /// A block's number and one, 0 for none; of blocks with one hash the last.
    table: Vec<u32>,
}

impl Blocks {
    fn of(base: &[u8]) -> Self {
        let count = base.len() / BLOCK;
        let mut table = vec![0; (count * 2).next_power_of_two()];
        let mask = table.len() - 1;
        for (index, block) in base.chunks_exact(BLOCK).enumerate() {
            table[hash(block) & mask] = index as u32 + 1;
        }
        Self { table }
    }

    fn find(&self, base: &[u8], wanted: &[u8]) -> Option<usize> {
        let number = self.table[hash(wanted) & (self.table.len() - 1)];
        let from = (number as usize).checked_sub(1)? * BLOCK;
        (base[from..from + BLOCK] == *wanted).then_some(from)
    }
}

fn hash(block: &[u8]) -> usize {
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let mixed = word(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word(8).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed ^ (mixed >> 32)).wrapping_mul(0x1656_67b1_9e37_79f9) as usize >> 20
}

/// A patch as it grows.
struct Writer<'a> {
    target: &'a [u8],
    is_text: bool,
    patch: Vec<u8>,
    /// How much of the target the patch makes.
    written: usize,
}

impl<'a> Writer<'a> {
    fn new(target: &'a [u8]) -> Self {
        let mut patch = Vec::with_capacity(target.len().min(256));
        number(target.len(), &mut patch);
        patch.push(b'\n');
        Self { target, is_text: str::from_utf8(target).is_ok(), patch, written: 0 }
    }

    /// Copies `length` bytes from `from` of the base, which are what the target has at `start`: what lies before is
    /// inserted. Left out where it saves nothing.
    fn copy(&mut self, mut from: usize, mut start: usize, length: usize) {
        let mut end = start + length;
        if self.is_text {
            while start < end && is_inside_character(self.target, start) {
                (start, from) = (start + 1, from + 1);
            }
            while end > start && is_inside_character(self.target, end) {
                end -= 1;
            }
        }
        let length = end - start;
        // The insertion that it interrupts needs another head too.
        if length <= digits(length) + digits(from) + 2 + 3 {
            return;
        }
        self.insert_up_to(start);
        number(length, &mut self.patch);
        self.patch.push(b'@');
        number(from, &mut self.patch);
        self.patch.push(b',');
        self.written = end;
    }

    fn insert_up_to(&mut self, end: usize) {
        if end > self.written {
            number(end - self.written, &mut self.patch);
            self.patch.push(b':');
            self.patch.extend_from_slice(&self.target[self.written..end]);
            self.written = end;
        }
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        // Most that is not worth it shows here already.
        if self.patch.len() + (self.target.len() - self.written) + MARGIN >= self.target.len() {
            return None;
        }
        self.insert_up_to(self.target.len());
        number(checksum(self.target) as usize, &mut self.patch);
        self.patch.push(b';');
        (self.patch.len() + MARGIN < self.target.len()).then_some(self.patch)
    }
}

fn is_inside_character(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80)
}

fn digits(number: usize) -> usize {
    (number.max(1).ilog2() / 6 + 1) as usize
}

fn number(number: usize, patch: &mut Vec<u8>) {
    for place in (0..digits(number)).rev() {
        patch.push(DIGITS[(number >> (place * 6)) & 63]);
    }
}

/// The sum of the big-endian words of 32 bits, the last filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(4);
    let whole = words
        .by_ref()
        .fold(0_u32, |sum, word| sum.wrapping_add(u32::from_be_bytes(word.try_into().expect("four bytes"))));
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    whole.wrapping_add(u32::from_be_bytes(last))
}

/// What `patch` makes of `base`, at most `limit` bytes. Nodes only write patches: this is for those who read them.
///
/// # Errors
/// When it is no patch, or not one of this base.
pub fn apply(base: &[u8], patch: &[u8], limit: usize) -> Result<Vec<u8>, FossilError> {
    let mut rest = patch;
    let size = read_number(&mut rest)?;
    if size > limit {
        return Err(FossilError::TooLarge);
    }
    expect(&mut rest, b'\n')?;
    let mut made = Vec::new();
    loop {
        let count = read_number(&mut rest)?;
        let operator = *rest.first().ok_or(FossilError::Malformed)?;
        rest = &rest[1..];
        let piece = match operator {
            b'@' => {
                let from = read_number(&mut rest)?;
                expect(&mut rest, b',')?;
                let end = from.checked_add(count).ok_or(FossilError::OutOfBounds)?;
                base.get(from..end).ok_or(FossilError::OutOfBounds)?
            }
            b':' => {
                let (piece, after) = rest.split_at_checked(count).ok_or(FossilError::Malformed)?;
                rest = after;
                piece
            }
            b';' if !rest.is_empty() || made.len() != size => return Err(FossilError::Malformed),
            b';' if count != checksum(&made) as usize => return Err(FossilError::Checksum),
            b';' => return Ok(made),
            _ => return Err(FossilError::Malformed),
        };
        if made.len() + piece.len() > size {
            return Err(FossilError::TooLarge);
        }
        made.extend_from_slice(piece);
    }
}

fn expect(rest: &mut &[u8], wanted: u8) -> Result<(), FossilError> {
    *rest = rest.strip_prefix(&[wanted]).ok_or(FossilError::Malformed)?;
    Ok(())
}

fn read_number(rest: &mut &[u8]) -> Result<usize, FossilError> {
    let length = rest.iter().take_while(|byte| DIGITS.contains(byte)).count();
    let (digits, after) = rest.split_at(length);
    *rest = after;
    if digits.is_empty() {
        return Err(FossilError::Malformed);
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = DIGITS.iter().position(|known| known == digit).unwrap_or_default() as u64;
        value.checked_mul(64)?.checked_add(digit).filter(|value| *value <= u64::from(u32::MAX))
    });
    value.map(|value| value as usize).ok_or(FossilError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Something, and what became of it: pieces kept, dropped, moved, put in.
    fn edited(piece: &'static str) -> impl Strategy<Value = (String, String)> {
        let pieces = prop::collection::vec(piece, 0..40);
        (pieces, prop::collection::vec((0..6_u8, piece), 40)).prop_map(|(pieces, edits)| {
            let mut target = Vec::new();
            for (piece, (edit, other)) in pieces.iter().zip(&edits) {
                match edit {
                    0 => target.push(other.clone()),
                    1 => target.insert(target.len() / 2, piece.clone()),
                    2 => {}
                    _ => target.push(piece.clone()),
                }
            }
            (pieces.concat(), target.concat())
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_target_and_is_smaller((base, target) in edited("[ -~äß→🦀\n\"]{0,30}")) {
            if let Some(patch) = patch(base.as_bytes(), target.as_bytes()) {
                prop_assert!(patch.len() + MARGIN < target.len());
                prop_assert_eq!(apply(base.as_bytes(), &patch, target.len()).unwrap(), target.as_bytes());
                prop_assert!(String::from_utf8(patch).is_ok(), "a character is cut");
            }
        }

        #[test]
        fn escaped_on_the_json_wire_it_is_smaller_too((base, target) in edited("[a-z\"\\\\\n→]{0,20}")) {
            if let Some(patch) = patch(base.as_bytes(), target.as_bytes()) {
                let escaped = |text: &str| serde_json::to_string(text).unwrap().len();
                let patch = String::from_utf8(patch).unwrap();
                prop_assert!(escaped(&patch) + ",\"delta\":true".len() <= escaped(&target));
            }
        }

        #[test]
        fn bytes_that_are_no_text_are_patched_too(
            base in prop::collection::vec(any::<u8>(), 0..300), at in 0..300_usize, put in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut target = base.clone();
            target.splice(at.min(base.len())..(at + 20).min(base.len()), put);
            if let Some(patch) = patch(&base, &target) {
                prop_assert_eq!(apply(&base, &patch, target.len()).unwrap(), target);
            }
        }

        #[test]
        fn no_patch_breaks_who_reads_it(base in prop::collection::vec(any::<u8>(), 0..50), patch in "[0-9A-Z_a-z~@:,;\n]{0,60}") {
            let _ = apply(&base, patch.as_bytes(), 1 << 20);
        }
    }

    #[test]
    fn a_small_change_makes_a_small_patch() {
        let base =
            br#"{"symbol":"ACME","price":17.25,"volume":120034,"exchange":"XETRA","currency":"EUR","state":"open"}"#;
        let target = String::from_utf8_lossy(base).replace("17.25", "18.5");
        let patch = patch(base, target.as_bytes()).unwrap();
        assert!(patch.len() < 32, "{}", String::from_utf8_lossy(&patch));
        assert_eq!(apply(base, &patch, 1000).unwrap(), target.as_bytes());
        assert_eq!(apply(b"something else", &patch, 1000), Err(FossilError::OutOfBounds));
    }

    #[test]
    fn where_nothing_is_saved_there_is_no_patch() {
        assert_eq!(patch(b"", b"{\"a\":\"nothing of it was there before\"}"), None);
        assert_eq!(patch(b"{\"n\":1}", b"{\"n\":2}"), None);
        assert_eq!(patch(b"same", b""), None);
    }

    /// From the format's description.
    #[test]
    fn a_patch_that_others_made_is_read() {
        assert_eq!(apply(b"hello world", b"B\n5@0,6: there2rsq_H;", 100), Err(FossilError::Checksum));
        assert_eq!(checksum(b"abcde"), 0x6162_6364_u32.wrapping_add(0x6500_0000));
        for (patch, error) in [
            (&b""[..], FossilError::Malformed),
            (b"5\n5@9,0;", FossilError::OutOfBounds),
            (b"5\n6:abcdef0;", FossilError::TooLarge),
            (b"zzz\n", FossilError::TooLarge),
            (b"zzzzzzz\n", FossilError::Malformed),
            (b"5\n3:abc0;", FossilError::Malformed),
        ] {
            assert_eq!(apply(b"0123456789", patch, 100).err(), Some(error), "{:?}", String::from_utf8_lossy(patch));
        }
    }
}
