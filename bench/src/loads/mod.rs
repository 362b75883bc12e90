//! What clients do: one module for each kind of work.

pub mod churn;
pub mod create;
pub mod idle;
pub mod keyed;
pub mod multi;
pub mod preload;
pub mod watch;
pub mod writers;

/// Whether the server keeps what it is told. The floor server does not: of its answers only
/// errors, order and zxids are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// A get returns what was stored, versions count every write, created paths are right.
    Content,
    /// The frame is an answer to the request.
    Framing,
}
