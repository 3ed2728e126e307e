//! Processes as an operator starts them: programs with variables, on ports of their own. Each ends with its
//! value, and shows its log when the test failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use testbed::process::bare;
use testbed::{Process, Signal, free_address};
use tokio::process::Command;

use crate::client;

/// Longer than anything should take on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Tests under load take turns: together they would measure each other.
pub(crate) static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ingress,
    Proxy,
    /// The ingress of examples/echo.rs, which offers another operation beside the weather.
    EchoIngress,
    /// Its worker.
    EchoProxy,
}

/// A program to start, with its variables.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    program: Program,
    path: &'static Path,
    variables: BTreeMap<String, String>,
}

/// A process that runs, or has ended.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) url: String,
    program: Program,
    process: Process,
    _directory: TempDir,
}

/// An ingress with its workers inside.
pub(crate) fn embedded() -> Plan {
    ingress("memory://")
}

pub(crate) fn ingress(broker: &str) -> Plan {
    Plan::new(Program::Ingress, broker).with("SHUTDOWN_DELAY", "200ms")
}

pub(crate) fn proxy(broker: &str) -> Plan {
    Plan::new(Program::Proxy, broker)
}

/// An ingress that offers another operation beside the weather.
pub(crate) fn echo_ingress(broker: &str) -> Plan {
    Plan::new(Program::EchoIngress, broker).with("SHUTDOWN_DELAY", "200ms")
}

/// Its worker.
pub(crate) fn echo_proxy(broker: &str) -> Plan {
    Plan::new(Program::EchoProxy, broker)
}

impl Plan {
    fn new(program: Program, broker: &str) -> Self {
        // Built before any clock runs, also where a test starts its proxy later than its first call.
        proxy_program();
        let plan = Self {
            program,
            path: program.path(),
            variables: BTreeMap::new(),
        };
        plan.with("BROKER_URL", broker)
            .with("LISTEN_ADDR", &free_address().to_string())
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The address it is to serve on.
    pub(crate) fn address(&self) -> String {
        self.variables["LISTEN_ADDR"].clone()
    }

    /// The command, without any variable of ours that this process has by accident.
    pub(crate) fn command(&self) -> Command {
        let mut command = bare(self.path);
        if self.program == Program::EchoProxy {
            command.arg("worker");
        }
        command.envs(&self.variables).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts the program.
    pub(crate) fn spawn(&self) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("{:?}", self.program);
        Service {
            url: format!("http://{}", self.address()),
            program: self.program,
            process: Process::start(name, self.command(), directory.path()).unwrap(),
            _directory: directory,
        }
    }

    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(&self) -> Service {
        let mut service = self.spawn();
        service.wait_until_ready().await;
        service
    }
}

impl Program {
    fn path(self) -> &'static Path {
        match self {
            Self::Ingress => Path::new(env!("CARGO_BIN_EXE_ingress-service")),
            Self::Proxy => proxy_program(),
            Self::EchoIngress | Self::EchoProxy => echo_program(),
        }
    }
}

impl Service {
    async fn wait_until_ready(&mut self) {
        let (ready, client) = (format!("{}/readyz", self.url), client::new());
        let is_ready = || async { (client.get(&ready).send().await.ok()?.status() == 200).then_some(()) };
        self.process.answers(PATIENCE, is_ready).await.unwrap();
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.ended(PATIENCE).await.unwrap()
    }

    /// What the process has logged so far.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// What the process has said so far.
    pub(crate) fn stdout(&self) -> String {
        self.process.stdout()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.stderr();
            let skipped = log.lines().count().saturating_sub(60);
            println!("--- the log of {:?} at {}, its last lines:", self.program, self.url);
            log.lines().skip(skipped).for_each(|line| println!("{line}"));
        }
    }
}

/// The proxy beside the ingress.
fn proxy_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("proxy-service", &["--bin", "proxy-service"]).join("proxy-service"))
}

fn echo_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("ingress-service", &["--example", "echo"]).join("examples/echo"))
}

/// Builds a program with the profile of this test, and says in which directory it is. Cargo gives a test the programs
/// of its own package only, and no examples.
fn built(package: &str, program: &[&str]) -> &'static Path {
    let directory = Path::new(env!("CARGO_BIN_EXE_ingress-service")).parent().unwrap();
    let profile = match directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut build = std::process::Command::new(env!("CARGO"));
    build.args(["build", "--package", package]).args(program);
    build
        .args(["--profile", profile, "--target-dir"])
        .arg(directory.parent().unwrap());
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    directory
}
