//! The programs that are broken: release builds of this tree, or what `--services` names.

use std::path::{Path, PathBuf};

use crate::python::Python;

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) ingress: PathBuf,
    pub(crate) worker: PathBuf,
    /// What workers in Python need; or why it cannot be had.
    pub(crate) python: Result<Python, String>,
}

impl Programs {
    /// Finds the programs in `directory`, or builds them.
    pub(crate) async fn find(directory: Option<&Path>) -> Result<Self, String> {
        let packages = ["ingress-service", "proxy-service", "chaos"];
        let names = ["ingress-service", "chaos-worker"];
        let [ingress, worker] = testbed::programs::find(directory, &packages, names).await?;
        Ok(Self {
            ingress,
            worker,
            python: Err("nobody asked for it".to_owned()),
        })
    }
}
