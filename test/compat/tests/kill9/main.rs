//! kill -9 at random moments under load, again and again on the same directory: no acknowledged
//! write is lost, none is done twice, closed sessions stay closed, live ones live on with their
//! ephemerals. `zk_testkit::history` checks, and is itself tested with planted lies.
//!
//! `replace` asks the same of members that are replaced by those of another engine, one by one.
//!
//! `ZKFLEET_KILL_ROUNDS` says how often (5), `ZKFLEET_KILL_SEED` where chance begins (1),
//! `ZKFLEET_KILL_ENGINE=3.9.4` puts an Apache in the place of ours.

mod alone;
mod ensemble;
mod replace;
