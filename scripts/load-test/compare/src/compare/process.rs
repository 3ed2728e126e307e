//! Processes the comparison starts.

use std::ffi::OsStr;
use std::path::Path;

use testbed::Process;
use testbed::process::bare;

use crate::BoxError;

/// Starts `program` in `directory`, without the environment of this process: a variable set for something else shall
/// not change what is measured.
pub(crate) fn start<A: AsRef<OsStr>>(
    name: &str,
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, String)],
    directory: &Path,
) -> Result<Process, BoxError> {
    let mut command = bare(program);
    command
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    command.current_dir(directory);
    Ok(Process::start(name, command, directory)?)
}
