//! File descriptors: as many as the system lets this process have, and some of them kept back.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for files: without a descriptor the log cannot begin a new file, and without a log nothing
/// can be written any more.
const KEPT: u64 = 64;

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
    let allowed = usize::try_from(descriptors.saturating_sub(KEPT)).unwrap_or(usize::MAX).max(1);
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
        assert_eq!(most_connections(None), limit - 64);
        assert_eq!(most_connections(Some(7)), 7);
        assert_eq!(most_connections(Some(u32::MAX)), limit - 64);
    }
}
