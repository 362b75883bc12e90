//! A member's pipeline for the targets, with small limits so that short inputs reach them.

use zk_core::{CoreOptions, Times};
use zk_proto::Limits;
use zk_tree::PrepareOptions;

/// The longest frame that a connection would take, in bytes.
pub const MAX_FRAME_BYTES: usize = 2048;

/// The most bytes of one multiRead's answer.
pub const MAX_RESPONSE_BYTES: usize = 4 * MAX_FRAME_BYTES;

/// Options with everything switched on.
pub fn options() -> CoreOptions {
    let mut prepare = PrepareOptions { enforce_quota: true, ..PrepareOptions::default() };
    prepare.auth.x509 = true;
    prepare.auth.sasl = true;
    prepare.auth.ensemble_names = Some(vec!["e".to_owned()]);
    // The password of `super:p`.
    prepare.auth.super_digest = prepare.auth.digest.id(b"super:p");
    CoreOptions {
        prepare,
        max_response_bytes: MAX_RESPONSE_BYTES,
        limits: Limits { max_len: 2 * MAX_FRAME_BYTES },
        audit: true,
        ..CoreOptions::default()
    }
}

/// The time so many ms after the beginning.
pub fn now(ms: i64) -> Times {
    Times { monotonic_ms: ms, wall_ms: 1_700_000_000_000 + ms }
}
