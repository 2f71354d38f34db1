#![no_main]

use redis_connect_postgres::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::values(data));
