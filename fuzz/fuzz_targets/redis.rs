#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::bridge::wire::sharded::{self, Message};
use midplane::bridge::wire::{Broadcast, Request, Teller, args, value};

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
    if let Ok(Message::Broadcast(broadcast)) = sharded::decode(input) {
        let teller = Teller { uid: "mp-1", namespace: &broadcast.namespace };
        let again = sharded::decode(&teller.broadcast(&broadcast)).expect("what is written can be read");
        assert!(matches!(again, Message::Broadcast(again) if again.namespace == broadcast.namespace));
    }
    let _ = value(input, &[]);
});
