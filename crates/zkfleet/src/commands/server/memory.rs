//! Memory that is not needed any more goes back to the system.
//!
//! glibc's allocator learns from large pieces that are freed: pieces of up to that size, 32 MiB at
//! most, come from its own heaps from then on, and each of these, of which there are up to eight a
//! processor, keeps twice as much of what is free (mallopt(3), `M_MMAP_THRESHOLD`). A minute of
//! clients that do not read their answers would stay resident for ever. Fixed thresholds end that,
//! and can be given to a program only before it starts: so the server starts itself once more, in
//! its own place, with them in its environment.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where glibc looks. Who has set it knows better, and a server that was started anew has.
const VARIABLE: &str = "GLIBC_TUNABLES";
/// Larger pieces, which are what waits for clients that do not read, come from the system and go
/// back there; so does what is free at the end of a heap. Answers of usual length are not touched:
/// with a smaller threshold each would cost the faults of new pages, with one of 2 MiB more than 64
/// MiB stay after attacks.
const TUNABLES: &str = "glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=1048576";

/// Returns if that was done already, or cannot be done: nothing else depends on it.
pub(super) fn bound_heaps() {
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env(VARIABLE, TUNABLES).exec();
    eprintln!("memory may not go back to the system: cannot start with {VARIABLE}: {error}");
}
