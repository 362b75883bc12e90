//! File descriptors: as many as the system lets this process have, and some of them kept back.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for files: without a descriptor the log cannot begin a new file, and without a log nothing
/// can be written any more.
const KEPT: u64 = 64;

/// What an event loop takes for itself; there is one for each core, and two more.
const OF_A_LOOP: u64 = 4;

fn kept() -> u64 {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u64);
    KEPT + OF_A_LOOP * (cores + 2)
}

/// Raises the limit to what is allowed, as a JVM does.
pub(crate) fn raise() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// How many connections there may be: what the configuration says, or what the system allows, if
/// that is less. 0 is no limit.
pub(crate) fn most_connections(configured: Option<u32>) -> usize {
    let Some(descriptors) = getrlimit(Resource::Nofile).current else {
        return configured.unwrap_or(0) as usize;
    };
    let allowed = usize::try_from(descriptors.saturating_sub(kept())).unwrap_or(usize::MAX).max(1);
    match configured {
        Some(wanted) if (wanted as usize) <= allowed => wanted as usize,
        Some(wanted) => {
            tracing::warn!(
                "maxCnxns = {wanted}: the system allows this process {descriptors} open files, so \
                 only {allowed} connections are taken; raise ulimit -n"
            );
            allowed
        }
        None => allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        let limit = getrlimit(Resource::Nofile).current.unwrap() as usize;
        let left = limit - kept() as usize;
        assert_eq!(most_connections(None), left);
        assert_eq!(most_connections(Some(7)), 7);
        assert_eq!(most_connections(Some(u32::MAX)), left);
    }
}
