//! What is on the disk belongs to every engine: trees, sessions and digests outlive a change of the
//! server, in both directions.

mod busy;
mod crossing;
mod digest;
mod journey;
mod long_close;
mod picture;
mod tools;
mod workload;
