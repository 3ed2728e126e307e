//! The programs that are started: release builds of this tree, or what is in a directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Finds programs by their names in `directory`, or builds `packages` and finds them there.
///
/// # Errors
/// When the build fails, or one of them is not there.
pub async fn find<const N: usize>(
    directory: Option<&Path>,
    packages: &[&str],
    names: [&str; N],
) -> Result<[PathBuf; N], String> {
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => build(packages).await?,
    };
    let programs = names.map(|name| directory.join(name));
    match programs.iter().zip(names).find(|(program, _)| !program.is_file()) {
        Some((_, name)) => Err(format!("there is no {name} in {}", directory.display())),
        None => Ok(programs),
    }
}

/// Builds the programs; where they are then.
async fn build(packages: &[&str]) -> Result<PathBuf, String> {
    // Before the build: it may replace this program's own file.
    let program = std::env::current_exe().map_err(|error| format!("could not find this program: {error}"))?;
    // This program is in the target directory itself: …/release/chaos or …/debug/chaos.
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command
        .args(["build", "--release", "--bins", "--target-dir"])
        .arg(target)
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"),
        ])
        .args(packages.iter().flat_map(|package| ["--package", package]))
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
        let found = find(Some(Path::new("/nowhere")), &[], ["ingress-service"]).await;
        assert_eq!(found.unwrap_err(), "there is no ingress-service in /nowhere");
    }
}
