//! `zkfleet doctor`, `log` and `snapshot` as an operator meets them: the real binary, on
//! directories of ours and of Apache's, whole and damaged; output, exit codes, and what it says to
//! do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod doctor;
mod listings;
mod place;
mod repair;
