//! Whatever a backend answers, it is read.

use proptest::prelude::*;

use crate::hooks::answer::{ConnectWire, PublishWire, RefreshWire, SubRefreshWire, SubscribeWire, Wire, read};

fn read_all(answer: &[u8]) {
    fn one<W: Wire>(answer: &[u8]) {
        let _verdict = read::<W>(answer);
    }
    one::<ConnectWire>(answer);
    one::<RefreshWire>(answer);
    one::<SubscribeWire>(answer);
    one::<PublishWire>(answer);
    one::<SubRefreshWire>(answer);
}

proptest! {
    #[test]
    fn any_bytes(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&answer);
    }

    #[test]
    fn any_field_with_any_value(
        part in prop_oneof![Just("result"), Just("error"), Just("disconnect")],
        name in prop_oneof![
            Just("user"), Just("expire_at"), Just("info"), Just("b64info"), Just("data"), Just("b64data"), Just("channels"),
            Just("subs"), Just("meta"), Just("override"), Just("tags"), Just("version"), Just("code"), Just("message"),
            Just("reason"), Just("temporary"), Just("expired"),
        ],
        value in prop_oneof![
            "\\PC{0,20}",
            "\"\\PC{0,20}\"",
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
            Just("{\"a\":null}".to_owned()),
            Just("[\"a\",\"a\"]".to_owned()),
            Just(format!("{}{}", "[".repeat(500), "]".repeat(500))),
        ],
    ) {
        read_all(format!("{{\"{part}\":{{\"{name}\":{value}}}}}").as_bytes());
    }
}
