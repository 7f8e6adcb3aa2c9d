#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|set: &[u8]| {
    let _ = midplane::auth::usable_keys(set);
});
