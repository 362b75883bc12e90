//! Texts of zoo.cfg, members of its ensemble, and flags of a command line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_server::config::{Member, Options, Override, parse, properties};
use zkfleet_fuzz::Tape;

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (shape, flags) = (tape.byte(), tape.part());
    let flags = String::from_utf8_lossy(flags);
    let mut overrides = Override::from_jvm_flags(&flags);
    overrides.extend(flags.lines().map(Override::from_argument));
    let options = Options {
        unsafe_allowed: shape & 1 == 1,
        server_id: (shape & 2 == 2).then_some(i64::from(shape) - 128),
    };
    let text = tape.0;
    match parse("zoo.cfg", text, &overrides, options) {
        Ok(loaded) => drop(format!("{:?}", loaded.config)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = Member::parse(&flags);
    for entry in properties::parse(text).unwrap_or_default() {
        assert!(entry.line <= entry.last_line);
    }
});
