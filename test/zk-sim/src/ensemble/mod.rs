//! The simulator of whole ensembles: the real machines of every member, from the election to the
//! tree, on disks, clocks and a network that do their worst, with clients that note everything.
//!
//! A run has two parts. In the first, faults come one after the other while clients work; in the
//! second everything works again, and all members must become one ensemble, with one history, that
//! every client gets into. What happens are [`Record`]s, told to the checks (`checks/`, one file
//! each), which know nothing else of the members.
//!
//! Time is virtual: an event happens at its time, and between two of them nothing is done, so
//! waiting costs nothing.
//!
//! Read first: `world` (what happens), `member` (the driver), `annals` (what the records mean).

mod annals;
mod checks;
mod client;
mod coverage;
mod event;
mod hub;
mod member;
mod mutant;
mod net;
mod record;
mod settings;
mod store;
mod workload;
mod world;

pub use checks::{Facts, Judge};
pub use coverage::{Coverage, Point};
pub use mutant::Mutant;
pub use record::{Record, Said};
pub use settings::Settings;
pub use world::{Outcome, RunOptions, run};
