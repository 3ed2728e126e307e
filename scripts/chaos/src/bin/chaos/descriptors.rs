//! Descriptors: a caller who waits is a connection, here and in an ingress. The limit is raised for this process, and
//! with it for all that it starts, as far as the system allows.

use tokio::process::Command;

/// The most callers of one scenario, those of another beside it, and what else is open.
const NEEDED: u64 = 16_000;

/// Makes sure that enough files may be open.
pub(crate) async fn raise() -> Result<(), String> {
    let limits = std::fs::read_to_string("/proc/self/limits");
    let limits = limits.map_err(|error| format!("could not read the limit on open files: {error}"))?;
    let (soft, hard) = open_files(&limits).ok_or("could not find the limit on open files")?;
    if soft >= NEEDED {
        return Ok(());
    }
    if hard < NEEDED {
        return Err(format!(
            "{NEEDED} open files are needed, and the system allows {hard}: raise ulimit -Hn"
        ));
    }
    let pid = std::process::id().to_string();
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid, &format!("--nofile={NEEDED}:")]);
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "could not raise the limit on open files: prlimit ended with {status}"
        )),
        Err(error) => Err(format!(
            "could not raise the limit on open files: {error}; try ulimit -n {NEEDED}"
        )),
    }
}

fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |word: &str| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    let mut words = line.split_whitespace();
    Some((number(words.next()?)?, number(words.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_read() {
        let line = "Limit  Soft  Hard  Units\nMax open files            1024      unlimited   files\n";
        assert_eq!(open_files(line), Some((1024, u64::MAX)));
        assert_eq!(open_files(""), None);
    }
}
