#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::protocol::centrifuge::{EmulationRequest, Encoding, decode_introduction};

fuzz_target!(|body: &[u8]| {
    let _ = decode_introduction(body);
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        if let Ok(request) = EmulationRequest::decode(encoding, body) {
            assert!(request.data.len() <= body.len(), "no post grows while it is read");
            let printed = format!("{request:?}").contains(&request.session.to_string());
            assert!(!printed || request.node == request.session, "sessions are secrets");
        }
    }
});
