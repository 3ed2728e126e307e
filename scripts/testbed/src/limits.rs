//! Descriptors: a caller who waits is a connection, here and in an ingress.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Has this process, and with it all that it starts, open so many files, as far as the system allows.
///
/// # Errors
/// When it does not.
pub fn allow_open_files(needed: u64) -> Result<(), String> {
    // `None` is no limit.
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    if let Some(hard) = maximum.filter(|hard| *hard < needed) {
        return Err(format!(
            "{needed} open files are needed, and the system allows {hard}: raise ulimit -Hn"
        ));
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("could not raise the limit on open files: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_already_stays_and_what_never_is_gets_refused() {
        let before = getrlimit(Resource::Nofile);
        assert_eq!(allow_open_files(1), Ok(()));
        assert_eq!(getrlimit(Resource::Nofile), before);
        if let Some(hard) = before.maximum {
            assert!(allow_open_files(hard + 1).is_err_and(|error| error.contains("ulimit -Hn")));
            assert_eq!(allow_open_files(hard), Ok(()));
            assert_eq!(getrlimit(Resource::Nofile).current, Some(hard));
        }
    }
}
