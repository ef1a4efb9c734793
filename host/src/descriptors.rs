//! Open files: each connection is one, and a machine's default allows 1,024.

/// Allows this process as many open files as the machine lets it have. Returns how many; none where nobody counts them.
#[cfg(unix)]
pub fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // It may be refused, as on systems whose hard limit is above what they allow: then it stays as it was.
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// Allows this process as many open files as the machine lets it have. Returns how many; none where nobody counts them.
#[cfg(not(unix))]
pub fn raise() -> Option<u64> {
    None
}
