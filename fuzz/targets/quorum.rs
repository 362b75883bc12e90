//! What other members send: packets of the quorum port, messages of the election port, and
//! configurations as text. What is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_proto::Limits;
use zk_proto::election::{Greeting, Notification};
use zk_proto::quorum::{FromLeader, FromLearner};
use zk_zab::Ensemble;
use zkfleet_fuzz::Tape;

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (kind, bytes) = (tape.byte() % 5, tape.0);
    let mut out = Vec::new();
    match kind {
        0 => {
            if let Ok(Some((packet, _))) = FromLearner::read(bytes, Limits::default()) {
                packet.put(&mut out);
                let again = FromLearner::read(&out, Limits::NONE);
                assert_eq!(again, Ok(Some((packet, out.len()))));
            }
        }
        1 => {
            if let Ok(Some((packet, _))) = FromLeader::read(bytes, Limits::default()) {
                packet.put(&mut out);
                let again = FromLeader::read(&out, Limits::NONE);
                assert_eq!(again, Ok(Some((packet, out.len()))));
            }
        }
        2 => {
            if let Ok(notification) = Notification::read(bytes) {
                notification.put_frame(&mut out);
                let again = Notification::read(&out[4..]).expect("what was written can be read");
                assert_eq!(
                    again.config.unwrap_or_default(),
                    notification.config.unwrap_or_default()
                );
                assert_eq!((again.leader, again.zxid), (notification.leader, notification.zxid));
            }
        }
        3 => {
            if let Ok(Some((greeting, length))) = Greeting::read(bytes) {
                assert!(length <= bytes.len());
                if !greeting.addresses.is_empty() {
                    let again = Greeting::read(&greeting.to_bytes());
                    assert!(matches!(again, Ok(Some((again, _))) if again == greeting));
                }
            }
        }
        _ => {
            if let Ok(ensemble) = Ensemble::parse(&String::from_utf8_lossy(bytes)) {
                assert_eq!(Ensemble::parse(&ensemble.to_string()), Ok(ensemble));
            }
        }
    }
});
