#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use midplane::backplane::Meta;
use midplane::backplane::nats::Described;
use serde::de::IgnoredAny;

fuzz_target!(|block: &[u8]| {
    let read = Described::by(block);
    if let Some(info) = &read.meta.info {
        assert!(info.starts_with(b"{") && !info.contains(&b'\n') && serde_json::from_slice::<IgnoredAny>(info).is_ok());
    }
    assert!(read.link.is_none_or(|link| link.offset.0 > 0));
    assert!(read.version.as_ref().is_none_or(|version| version.number > 0));

    let block = read.block();
    let again = Described::by(&block);
    assert_eq!(again.malformed, 0, "what we write is sound: {:?}", String::from_utf8_lossy(&block));
    assert_eq!(again.link, None, "what we write claims no place in a chain");
    assert_eq!(again.version, read.version);
    assert_eq!(tags(&again.meta), tags(&read.meta));
    assert_eq!((again.meta.tombstone, again.meta.delta), (read.meta.tombstone, read.meta.delta));
    assert_eq!(info(&again.meta), info(&read.meta));
});

/// Of two tags with one name the last counts.
fn tags(meta: &Meta) -> BTreeMap<&str, &str> {
    meta.tags.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// White space at the end and line ends do not survive, and mean nothing.
fn info(meta: &Meta) -> Option<String> {
    let info = std::str::from_utf8(meta.info.as_ref()?).expect("text");
    Some(info.replace('\r', " ").trim_end_matches(' ').to_owned())
}
