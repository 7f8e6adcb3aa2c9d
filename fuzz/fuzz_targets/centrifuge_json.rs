#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::protocol::centrifuge::{Encoding, Method, decode, raw};

const LIMIT: usize = 8;

fuzz_target!(|message: &[u8]| {
    let Ok(commands) = decode(Encoding::Json, message, LIMIT) else { return };
    assert!(!commands.is_empty() && commands.len() <= LIMIT);
    for command in commands {
        if let Method::Publish(request) = command.method
            && !request.data.is_empty()
        {
            assert_eq!(raw::one_line(&request.data).as_ref(), Some(&request.data), "on one line already");
        }
    }
});
