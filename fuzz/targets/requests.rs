//! Bodies of requests, of every operation: no bytes make the reader panic, and what it reads can be
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::{Limits, OpCode, Reader};
use zkfleet_fuzz::{Tape, reads_back};

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let Some(op) = OpCode::from_code(i32::from(tape.byte() as i8)) else { return };
    let body = tape.0;
    reads_back!(body, RequestHeader);
    let Ok(Some(request)) = Request::read(op, &mut Reader::new(body)) else { return };
    let mut written = Vec::new();
    request.write(&mut written);
    let mut reader = Reader::with_limits(&written, Limits { max_len: usize::MAX });
    let again = Request::read(op, &mut reader).expect("what was written can be read");
    assert_eq!(again.as_ref(), Some(&request));
});
