//! Transaction logs of any content: the reader, recovery, the doctor's look and its repair.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkfleet_fuzz::{Tape, disk};

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (shape, how) = (tape.byte(), disk::Use::of(tape.byte()));
    let disk = disk::empty();
    for number in 0..=shape / 2 % 4 {
        let name = if number == 0 { "log.1".to_owned() } else { format!("log.{:x}", tape.byte()) };
        let content = if shape % 2 == 0 { tape.part().to_vec() } else { sealed(&mut tape) };
        disk.plant(&disk::path(&name), &content);
    }
    disk::use_files(&disk, how);
});

/// Records with right checksums: a count, the payloads, and what stands behind them.
fn sealed(tape: &mut Tape<'_>) -> Vec<u8> {
    let mut file = disk::LOG_HEADER.to_vec();
    for _ in 0..tape.byte() % 8 {
        disk::frame(tape.part(), &mut file);
    }
    file.extend_from_slice(tape.part());
    file
}
