//! The golden files: messages encoded by protobufjs from the schema, and their JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::{Encode, Encoding, encode};

/// Cases by name.
pub(super) type Cases = BTreeMap<String, Case>;

#[derive(Deserialize)]
pub(super) struct Case {
    name: String,
    pub(super) json: String,
    #[serde(deserialize_with = "hex")]
    pub(super) protobuf: Vec<u8>,
}

pub(super) fn cases(file: &str) -> Cases {
    let cases: Vec<Case> = serde_json::from_str(file).unwrap();
    cases.into_iter().map(|case| (case.name.clone(), case)).collect()
}

/// Every case of the file has its message here, and the other way round; each encodes to the very bytes.
pub(super) fn check<M: Encode>(file: &str, messages: Vec<(&str, M)>) {
    let mut golden = cases(file);
    for (name, message) in messages {
        let case = golden.remove(name).unwrap_or_else(|| panic!("no golden {name}"));
        let json = encode(Encoding::Json, &message);
        assert_eq!(str::from_utf8(&json).unwrap(), case.json, "{name}");
        assert_eq!(encode(Encoding::Protobuf, &message)[..], case.protobuf, "{name}");
    }
    assert_eq!(golden.keys().collect::<Vec<_>>(), [""; 0], "golden but not checked");
}

fn hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    Ok(bytes.collect())
}
