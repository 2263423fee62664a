#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chatkit_rest_fuzz::gateway(data));
