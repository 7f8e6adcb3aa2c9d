//! Files that are named by options and commands: bounded, and of a kind that ends.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What is read of one at most. Settings and secrets are small, and some files never end.
const LIMIT: u64 = 1 << 20;

/// The text of the file at `path`, which may be a pipe.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("cannot be read ({error})");
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().is_ok_and(|of| of.is_dir()) {
        return Err("a directory, not a file".to_owned());
    }
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LIMIT {
        return Err("larger than 1 MiB, the limit for files of settings and secrets".to_owned());
    }
    String::from_utf8(text).map_err(|_| "not UTF-8 text".to_owned())
}

/// Why there is no file at `path` that can be read again and again, if so.
pub(super) fn missing(path: &Path) -> Option<String> {
    match path.metadata() {
        Ok(of) if of.is_file() => None,
        Ok(of) if of.is_dir() => Some("a directory, not a file".to_owned()),
        Ok(_) => Some("not a file that can be read again and again".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("no such file".to_owned()),
        Err(error) => Some(format!("cannot be examined ({error})")),
    }
}
