#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::protocol::Channel;
use midplane::protocol::centrifuge::{Encoding, Method, Publication, Push, Reply, decode, encode, raw};

const LIMIT: usize = 8;

fuzz_target!(|message: &[u8]| {
    let Ok(commands) = decode(Encoding::Protobuf, message, LIMIT) else { return };
    assert!(!commands.is_empty() && commands.len() <= LIMIT);
    for command in commands {
        let Method::Publish(request) = command.method else { continue };
        let Ok(channel) = Channel::parse(&request.channel, 255) else { continue };
        let publication = Publication { data: request.data, ..Default::default() };
        let json = encode(Encoding::Json, &Reply::from(Push::Publication { channel, publication }));
        assert!(raw::is_json(&json) && !json.contains(&b'\n'), "one JSON message on one line");
    }
});
