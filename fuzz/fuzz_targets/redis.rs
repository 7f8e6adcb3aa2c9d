#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::bridge::wire::{Broadcast, Request, args, value};

fuzz_target!(|input: &[u8]| {
    if let Ok(broadcast) = Broadcast::decode(input) {
        if let Ok(args) = args(&broadcast.data) {
            value(&args.json, &args.attachments).expect("what is written can be read");
        }
        let again = Broadcast::decode(&broadcast.encode()).expect("what is written can be read");
        assert_eq!(again.namespace, broadcast.namespace);
    }
    if let Ok(request) = Request::decode(input) {
        Request::decode(&request.encode()).expect("what is written can be read");
    }
    let _ = value(input, &[]);
});
