//! Where it was measured, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;
use testbed::machine;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lineup::Peer;
use crate::programs::repository;

/// The machine, and what was measured on it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Environment {
    pub(crate) started: String,
    pub(crate) roundtrip: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Where brokers write; on a `tmpfs` nothing is durable, and fsync free.
    pub(crate) file_system: String,
}

impl Environment {
    /// `scratch` is where the brokers write.
    pub(crate) fn read(scratch: &Path) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        Self {
            started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            roundtrip: commit(),
            processor: machine::processor(),
            cores: machine::cores(),
            kernel: machine::kernel(),
            file_system: file_system(&mounts, scratch).unwrap_or("unknown").to_owned(),
        }
    }
}

/// The commit that was measured, marked where files differ from it.
fn commit() -> String {
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty", "--tags"])
        .current_dir(repository())
        .output();
    let commit = git.ok().filter(|output| output.status.success());
    commit.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The type of the file system that `path` is on; later mounts hide earlier ones.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let holding = mounts.filter(|(directory, _)| path.starts_with(directory));
    holding
        .max_by_key(|(directory, _)| directory.components().count())
        .map(|(_, kind)| kind)
}

/// The crates through which a peer speaks to its broker or worker, with their versions as locked.
pub(crate) fn client_crates(peer: Peer) -> Vec<String> {
    let ours = include_str!("../../Cargo.lock");
    let main = fs::read_to_string(repository().join("Cargo.lock")).unwrap_or_default();
    let lock = if peer.is_roundtrip() { &main } else { ours };
    let crates = peer.client_crates().iter();
    crates
        .map(|name| format!("{name} {}", locked_version(lock, name).unwrap_or("unknown")))
        .collect()
}

fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_client_is_the_locked_one() {
        let lock = "[[package]]\nname = \"lapin-extra\"\nversion = \"9.9.9\"\n\n\
                    [[package]]\nname = \"lapin\"\nversion = \"4.12.3\"\nsource = \"registry\"\n";
        assert_eq!(locked_version(lock, "lapin"), Some("4.12.3"));
        assert_eq!(locked_version(lock, "redis"), None);
    }

    #[test]
    fn every_client_has_a_version() {
        for peer in <Peer as clap::ValueEnum>::value_variants() {
            let crates = client_crates(*peer);
            assert!(crates.iter().all(|name| !name.ends_with("unknown")), "{crates:?}");
        }
    }

    #[test]
    fn the_nearest_mount_holds_a_path() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/tmpx")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }
}
