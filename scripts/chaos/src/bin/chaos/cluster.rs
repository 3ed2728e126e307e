//! Redis and the services of one scenario, all of them its own. Whoever starts a process here ends it here, by its id.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chaos::ledger;
use load_test::health;
use tempfile::TempDir;
use testbed::process::bare;
use testbed::{Process, RedisServer, Signal, free_address};

use crate::fault_proxy::FaultProxy;
use crate::history::{Pythons, Usage};
use crate::load_balancer::LoadBalancer;
use crate::programs::Programs;
use crate::python::Python;
use crate::redis::{self, Special};
use crate::upstream::Upstream;

/// How long a service may take to be ready; usually it is milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a service may take to leave: its own grace period, and some more.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(40);

/// Which processes there are, and how they are configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    pub(crate) ingresses: usize,
    pub(crate) workers: usize,
    /// How many of the workers are in Python, where that can be had: the last ones.
    pub(crate) python: usize,
    /// Variables of all ingresses and of all workers.
    pub(crate) ingress: Vec<(&'static str, String)>,
    pub(crate) worker: Vec<(&'static str, String)>,
    /// What is special about Redis.
    pub(crate) redis: Special,
    /// Whether the services reach Redis through it.
    pub(crate) fault_proxy: bool,
    /// Whether workers reach Redis past it.
    pub(crate) workers_past_cutter: bool,
    /// Whether the weather comes from an upstream of ours.
    pub(crate) upstream: bool,
    /// Whether a process that ends by itself is started again.
    pub(crate) supervised: bool,
}

/// A service that runs.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// An ingress by its turn, a worker by its pid, as the ledger has it.
    pub(crate) instance: u32,
    /// What it held when it was ready.
    pub(crate) before: Option<Usage>,
}

/// A process that ended by itself.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Which, and how.
    pub(crate) sentence: String,
    /// Which worker, if it is one.
    pub(crate) worker: Option<u32>,
    /// Whether another was started in its place.
    pub(crate) restarted: bool,
}

/// Everything that runs for one scenario.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) redis: RedisServer,
    pub(crate) fault_proxy: Option<FaultProxy>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) front: Arc<LoadBalancer>,
    /// By place; `None` while there is nobody.
    pub(crate) ingresses: Vec<Option<Member>>,
    pub(crate) workers: Vec<Option<Member>>,
    /// The workers in Python that there were.
    pub(crate) pythons: Pythons,
    setup: Setup,
    programs: Programs,
    broker: SocketAddr,
    starts: u32,
    directory: TempDir,
}

/// Which kind of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ingress,
    Worker,
}

impl Cluster {
    /// Starts everything, and waits until it is ready.
    pub(crate) async fn start(programs: &Programs, setup: Setup) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("could not make a directory: {error}"))?;
        let redis = redis::start(&setup.redis).await?;
        let fault_proxy = match setup.fault_proxy {
            true => Some(FaultProxy::start(free_address(), redis.address).await?),
            false => None,
        };
        let upstream = match setup.upstream {
            true => Some(Upstream::start(free_address()).await?),
            false => None,
        };
        let doors: Vec<_> = (0..setup.ingresses).map(|_| free_address()).collect();
        let mut cluster = Self {
            broker: fault_proxy
                .as_ref()
                .map_or(redis.address, |fault_proxy| fault_proxy.address),
            front: LoadBalancer::new(&doors)?,
            ingresses: doors.iter().map(|_| None).collect(),
            workers: (0..setup.workers).map(|_| None).collect(),
            pythons: Pythons {
                missing: programs.python.as_ref().err().filter(|_| setup.python > 0).cloned(),
                pids: Vec::new(),
            },
            programs: programs.clone(),
            starts: 0,
            redis,
            fault_proxy,
            upstream,
            setup,
            directory,
        };
        for (role, count) in [(Role::Worker, cluster.workers.len()), (Role::Ingress, doors.len())] {
            for place in 0..count {
                cluster.fill(role, place).await?;
            }
        }
        Ok(cluster)
    }

    /// Starts a service in a place that is free, and waits until it is ready.
    pub(crate) async fn fill(&mut self, role: Role, place: usize) -> Result<u32, String> {
        let instance = self.spawn(role, place)?;
        let member = self.member(role, place)?;
        let address = member.address;
        let is_ready = || async move { health::is_ready(address).await.then_some(()) };
        member.process.answers(START_TIMEOUT, is_ready).await?;
        member.before = Usage::of(&member.process);
        Ok(instance)
    }

    /// SIGKILL for whoever is in a place; which process that was.
    pub(crate) async fn kill(&mut self, role: Role, place: usize) -> Result<u32, String> {
        let mut member = self.places(role)[place].take().ok_or_else(|| nobody(role, place))?;
        member.process.kill().await?;
        Ok(member.instance)
    }

    /// SIGTERM, and waits until it has left; which process that was.
    pub(crate) async fn dismiss(&mut self, role: Role, place: usize) -> Result<u32, String> {
        let mut member = self.places(role)[place].take().ok_or_else(|| nobody(role, place))?;
        member.process.signal(Signal::TERM)?;
        let status = member.process.ended(LEAVE_TIMEOUT).await?;
        match status.success() {
            true => Ok(member.instance),
            false => Err(member
                .process
                .quoted(&format!("asked to leave, it ended with {status}"))),
        }
    }

    /// Whoever is in a place.
    pub(crate) fn member(&mut self, role: Role, place: usize) -> Result<&mut Member, String> {
        self.places(role)[place].as_mut().ok_or_else(|| nobody(role, place))
    }

    /// Processes that ended by themselves; where the setup says so, others are started in their places.
    pub(crate) fn tend(&mut self) -> Result<Vec<Loss>, String> {
        let died = |sentence| Loss {
            sentence,
            worker: None,
            restarted: false,
        };
        let mut ended = Vec::from_iter(self.redis.has_died().map(died));
        for role in [Role::Ingress, Role::Worker] {
            for place in 0..self.places(role).len() {
                let Some(member) = &mut self.places(role)[place] else {
                    continue;
                };
                let Some(status) = member.process.has_ended() else {
                    continue;
                };
                let sentence = member.process.quoted(&format!("it ended by itself, with {status}"));
                let worker = (role == Role::Worker).then_some(member.instance);
                self.places(role)[place] = None;
                if self.setup.supervised {
                    self.spawn(role, place)?;
                }
                ended.push(Loss {
                    sentence,
                    worker,
                    restarted: self.setup.supervised,
                });
            }
        }
        Ok(ended)
    }

    /// Where the workers note what they run.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    /// The services that run.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.ingresses.iter().chain(&self.workers).flatten()
    }

    fn places(&mut self, role: Role) -> &mut Vec<Option<Member>> {
        match role {
            Role::Ingress => &mut self.ingresses,
            Role::Worker => &mut self.workers,
        }
    }

    fn spawn(&mut self, role: Role, place: usize) -> Result<u32, String> {
        self.starts += 1;
        let start = self.starts;
        let (program, name, address, variables) = match role {
            Role::Ingress => {
                let door = &self.front.doors[place];
                door.taken_by(start);
                (&self.programs.ingress, "ingress", door.address, &self.setup.ingress)
            }
            Role::Worker => (&self.programs.worker, "worker", free_address(), &self.setup.worker),
        };
        let broker = match role {
            Role::Worker if self.setup.workers_past_cutter => self.redis.address,
            Role::Ingress | Role::Worker => self.broker,
        };
        let python = self.programs.python.as_ref().ok();
        let python = python.filter(|_| role == Role::Worker && place + self.setup.python >= self.setup.workers);
        let mut command = python.map_or_else(|| bare(program), Python::command);
        command
            .env("BROKER_URL", format!("redis://{broker}"))
            .env("LISTEN_ADDR", address.to_string())
            .env("RUST_LOG", "warn")
            .env(ledger::VARIABLE, self.ledger())
            .envs(variables.iter().map(|(name, value)| (*name, value)));
        if let (Role::Worker, Some(upstream)) = (role, &self.upstream) {
            let url = format!("http://{}", upstream.address);
            command
                .env("WEATHER_PROVIDER", "open-meteo")
                .env("OPEN_METEO_GEOCODING_URL", &url);
            command.env("OPEN_METEO_FORECAST_URL", url);
        }
        let is_python = python.is_some();
        let process = Process::start(format!("{name}-{place}-{start}"), command, self.directory.path())?;
        self.pythons.pids.extend(is_python.then_some(process.pid));
        let instance = match role {
            Role::Ingress => start,
            Role::Worker => process.pid,
        };
        let member = Member {
            process,
            address,
            instance,
            before: None,
        };
        self.places(role)[place] = Some(member);
        Ok(instance)
    }
}

fn nobody(role: Role, place: usize) -> String {
    format!("there is no {role:?} in place {place}")
}
