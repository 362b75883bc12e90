//! Key stores and trust stores: JKS with its checksum put right, PKCS#12 whose checksum does not
//! count here, PEM, and the names of certificates that clients show.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_server::tls::{Secret, detect, fuzz, name_stranger, subject_dn};
use zkfleet_fuzz::Tape;

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let shape = tape.byte();
    let (password, content) = (Secret::new("changeit"), tape.0);
    let found = match shape % 4 {
        0 => fuzz::store(&fuzz::sealed_jks(content, &password), &password),
        1 => fuzz::store(content, &password),
        2 => fuzz::pem(content, &password).map(|count| [count, 0]),
        _ => {
            let name = subject_dn(content);
            name.map(|name| [name.len(), 0])
        }
    };
    match found {
        // No entry takes less than a byte; a name may be escaped and in hex.
        Ok(counts) => assert!(counts.iter().all(|count| *count <= 16 * content.len() + 16)),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
    if let Some(first) = content.first() {
        let _ = (detect(*first), name_stranger(content));
    }
});
