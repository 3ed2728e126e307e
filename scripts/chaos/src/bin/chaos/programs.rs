//! The programs that are broken: release builds of this tree, or what `--services` names.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::python::Python;

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) ingress: PathBuf,
    pub(crate) worker: PathBuf,
    /// `redis-server`, or what REDIS_SERVER names.
    pub(crate) redis: String,
    /// What workers in Python need; or why it cannot be had.
    pub(crate) python: Result<Python, String>,
}

impl Programs {
    /// Finds the programs in `directory`, or builds them.
    pub(crate) async fn find(directory: Option<&Path>) -> Result<Self, String> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => build().await?,
        };
        let program = |name: &str| {
            let file = directory.join(name);
            match file.is_file() {
                true => Ok(file),
                false => Err(format!("there is no {name} in {}", directory.display())),
            }
        };
        Ok(Self {
            ingress: program("ingress-service")?,
            worker: program("chaos-worker")?,
            redis: std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned()),
            python: Err("nobody asked for it".to_owned()),
        })
    }
}

/// Builds the programs; where they are then.
async fn build() -> Result<PathBuf, String> {
    // Before the build: it may replace this program's own file.
    let program = std::env::current_exe().map_err(|error| format!("could not find this program: {error}"))?;
    // This program is in the target directory itself: …/release/chaos or …/debug/chaos.
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command
        .args([
            "build",
            "--release",
            "--bins",
            "-p",
            "ingress-service",
            "-p",
            "proxy-service",
            "-p",
            "chaos",
        ])
        .arg("--target-dir")
        .arg(target)
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let status = command.status().await.map_err(|error| {
        format!("could not run {cargo} to build the services: {error}; --services names a directory with them")
    })?;
    match status.success() {
        true => Ok(target.join("release")),
        false => Err(format!("could not build the services: {cargo} ended with {status}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_program_is_named_with_where_it_was_looked_for() {
        let error = Programs::find(Some(Path::new("/nowhere"))).await.unwrap_err();
        assert_eq!(error, "there is no ingress-service in /nowhere");
    }
}
