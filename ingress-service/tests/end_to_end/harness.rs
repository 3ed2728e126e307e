//! Processes as an operator starts them: programs with variables, on ports of their own. Each ends with its
//! value, and shows its log when the test failed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use roundtrip::test_util::free_port;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

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
    directory: TempDir,
    process: Child,
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
            .with("LISTEN_ADDR", &format!("127.0.0.1:{}", free_port()))
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
        let mut command = Command::new(self.path);
        command.env_clear().envs(&self.variables);
        // What a program needs anywhere, and what measures its coverage.
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts the program.
    pub(crate) fn spawn(&self) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let output = |name: &str| File::create(directory.path().join(name)).unwrap();
        let mut command = self.command();
        let command = command.stdout(output("stdout")).stderr(output("stderr"));
        Service {
            url: format!("http://{}", self.address()),
            program: self.program,
            process: command.spawn().unwrap(),
            directory,
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
        }
    }
}

impl Service {
    async fn wait_until_ready(&mut self) {
        let started = Instant::now();
        let ready = format!("{}/readyz", self.url);
        let client = client::new();
        loop {
            if let Ok(response) = client.get(&ready).send().await
                && response.status() == 200
            {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("{:?} ended with {status} before it was ready", self.program);
            }
            assert!(started.elapsed() < PATIENCE, "{:?} did not become ready", self.program);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the process to end: `TERM`, `INT` or `KILL`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.process.id().expect("the process has not been waited for");
        let mut kill = std::process::Command::new("kill");
        assert!(
            kill.args([&format!("-{name}"), &id.to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.expect("the process did not end").unwrap()
    }

    /// What the process has logged so far.
    pub(crate) fn stderr(&self) -> String {
        self.output("stderr")
    }

    /// What the process has said so far.
    pub(crate) fn stdout(&self) -> String {
        self.output("stdout")
    }

    fn output(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
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

/// Waits until a condition holds, and says how long that took.
pub(crate) async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

/// The proxy beside the ingress, built with the same profile. Cargo gives a test the programs of its own
/// package only.
fn proxy_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_ingress-service")).parent().unwrap();
        let profile = match directory.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--package", "proxy-service", "--bin", "proxy-service"]);
        build
            .args(["--profile", profile, "--target-dir"])
            .arg(directory.parent().unwrap());
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        directory.join("proxy-service")
    })
}
