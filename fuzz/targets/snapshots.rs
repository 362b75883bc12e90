//! Snapshots of any content in all three forms, with and without right checksums.
#![no_main]

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use zkfleet_fuzz::{Tape, disk};

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let shape = tape.byte();
    let content = if shape & 1 == 0 { tape.part().to_vec() } else { sealed(&mut tape) };
    let disk = disk::empty();
    let (name, file) = match shape >> 1 & 3 {
        0 => ("snapshot.0", content),
        // As it is, for the decompressors themselves.
        1 => (if shape & 8 == 0 { "snapshot.0.gz" } else { "snapshot.0.snappy" }, content),
        2 => ("snapshot.0.gz", gzip(&content)),
        _ => ("snapshot.0.snappy", snappy(&content)),
    };
    disk.plant(&disk::path(name), &file);
    if shape & 16 != 0 {
        let mut log = disk::LOG_HEADER.to_vec();
        disk::frame(tape.part(), &mut log);
        disk.plant(&disk::path("log.1"), &log);
    }
    disk::use_files(&disk, disk::Use::of(shape >> 5));
});

/// Up to three parts, each with the checksum of all before it.
fn sealed(tape: &mut Tape<'_>) -> Vec<u8> {
    let (mut file, mut sum) = (Vec::new(), simd_adler32::Adler32::new());
    let mut from = 0;
    for _ in 0..1 + tape.byte() % 3 {
        file.extend_from_slice(tape.part());
        sum.write(&file[from..]);
        let checksum = u64::from(sum.finish());
        from = file.len();
        file.extend_from_slice(&checksum.to_be_bytes());
        file.extend_from_slice(b"\0\0\0\x01/");
    }
    file
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory takes it all");
    encoder.finish().expect("memory takes it all")
}

fn snappy(content: &[u8]) -> Vec<u8> {
    let block = snap::raw::Encoder::new().compress_vec(content).expect("it is short");
    let mut file = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    file.extend_from_slice(&(block.len() as u32).to_be_bytes());
    file.extend_from_slice(&block);
    file
}
