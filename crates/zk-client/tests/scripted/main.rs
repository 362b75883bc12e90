//! The client against a server that does exactly what each test says.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod requests;
mod support;
mod tls;
mod watches;
