//! What operators ask the real binary: HTTP commands, `/metrics`, four-letter words, snapshots and
//! restores. Fields and their types are held against those of Apache 3.9.4.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod metrics;
mod restore;
mod shapes;
mod site;
mod web;
mod words;
