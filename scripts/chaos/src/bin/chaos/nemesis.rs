//! Does what a schedule says, step by step, and notes when. Watches over the processes meanwhile: one that ends by
//! itself is a finding, unless the scenario has it started again.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chaos::ledger;
use checker::nonce::Temper;
use testbed::Signal;
use tokio::time::{sleep, timeout};

use crate::callers::Callers;
use crate::cluster::{Cluster, Loss, Role};
use crate::history::{Event, What};
use crate::progress::Progress;
use crate::redis::{GROUP, REQUESTS};
use crate::step::{Load, Step};
use crate::wire::Wire;

/// How often processes are looked after.
const TEND_INTERVAL: Duration = Duration::from_millis(25);

/// How soon questions must be asked whose answers are to be lost.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// How long a flood may take to be worked off.
const FLOOD_PATIENCE: Duration = Duration::from_secs(20);

/// What is noted of a process that ended by itself.
pub(crate) fn died(at: Duration, loss: Loss) -> impl Iterator<Item = Event> {
    let restarted = loss.restarted.then(|| What::Restarted(loss.sentence.clone()));
    let all = [Some(What::Died(loss.sentence)), restarted, loss.worker.map(What::Lost)];
    all.into_iter().flatten().map(move |what| Event { at, done: at, what })
}
/// How long to wait for runs: a lease or two each.
const RUNS_PATIENCE: Duration = Duration::from_secs(40);

/// How exactly a clock is set, in seconds: what an answer takes on a busy machine.
const CLOCK_TOLERANCE: f64 = 5.0;

/// Who does it.
pub(crate) struct Nemesis<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) callers: &'a Callers,
    pub(crate) wire: Option<&'a Wire>,
    pub(crate) progress: &'a Progress,
    pub(crate) begin: Instant,
    pub(crate) events: Vec<Event>,
    /// The upstream's attempts at the end of each step.
    pub(crate) upstream: Vec<(Duration, u64)>,
    pub(crate) peak: f64,
}

impl<'a> Nemesis<'a> {
    /// Does all steps in order.
    pub(crate) async fn conduct(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            let at = self.begin.elapsed();
            if !matches!(step, Step::Wait(_)) {
                self.progress.say(&step.to_string());
            }
            let hit = self
                .perform(step)
                .await
                .map_err(|error| format!("could not {step}: {error}"))?;
            self.note(at, What::Step(*step, hit));
            if let Some(upstream) = &self.cluster.upstream {
                self.upstream.push((self.begin.elapsed(), upstream.attempts()));
            }
        }
        Ok(())
    }

    /// Looks after the processes until `work` is done.
    pub(crate) async fn tend_during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, String> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return Ok(output),
                () = sleep(TEND_INTERVAL) => self.tend()?,
            }
        }
    }

    fn tend(&mut self) -> Result<(), String> {
        for loss in self.cluster.tend()? {
            let at = self.begin.elapsed();
            self.progress.say(loss.sentence.lines().next().unwrap_or_default());
            self.events.extend(died(at, loss));
        }
        Ok(())
    }

    fn note(&mut self, at: Duration, what: What) {
        let done = self.begin.elapsed();
        self.events.push(Event { at, done, what });
    }

    /// Does one step; which process it hit, where that matters.
    async fn perform(&mut self, step: &Step) -> Result<Option<u32>, String> {
        let cluster = &mut *self.cluster;
        match *step {
            Step::Wait(time) => self.tend_during(sleep(time)).await?,
            Step::Load(load) => self.callers.set(load),
            Step::MeasurePeak(time) => self.measure_peak(time).await?,
            Step::LoadTimesPeak(times) => self.callers.set(Load::Open(self.peak * times)),
            Step::Ask(temper, count) => self.callers.ask_of(temper, count).await,
            Step::AwaitRuns(temper, count) => self.await_runs(temper, count).await?,
            Step::KillWorker(place) => return cluster.kill(Role::Worker, place).await.map(Some),
            Step::StartWorker(place) => return cluster.fill(Role::Worker, place).await.map(Some),
            Step::FreezeWorker(place) => return self.signal(Role::Worker, place, Signal::STOP),
            Step::ThawWorker(place) => return self.signal(Role::Worker, place, Signal::CONT),
            Step::RollWorker(place) => return self.roll(Role::Worker, place).await.map(Some),
            Step::KillIngress(place) => return cluster.kill(Role::Ingress, place).await.map(Some),
            Step::StartIngress(place) => return cluster.fill(Role::Ingress, place).await.map(Some),
            Step::RollIngress(place) => return self.roll(Role::Ingress, place).await.map(Some),
            Step::FreezeIngress(place) => return self.signal(Role::Ingress, place, Signal::STOP),
            Step::ThawIngress(place) => return self.signal(Role::Ingress, place, Signal::CONT),
            Step::KillRedis => cluster.redis.kill().await?,
            Step::StartRedis => cluster.redis.restart().await?,
            Step::FreezeRedis => cluster.redis.signal(Signal::STOP)?,
            Step::ThawRedis => cluster.redis.signal(Signal::CONT)?,
            Step::PauseClients(time) => self.pause_clients(time).await?,
            Step::DebugSleep(time) => self.run(&["DEBUG", "SLEEP", &time.as_secs_f64().to_string()]).await?,
            Step::SetClock(seconds) => self.set_clock(seconds).await?,
            Step::LeaveMemory(bytes) => self.leave_memory(bytes).await?,
            Step::Network(weather) => match &cluster.fault_proxy {
                Some(fault_proxy) => fault_proxy.set(weather),
                None => return Err("there is no proxy before Redis".to_owned()),
            },
            Step::LoseAnswers(question, times) => {
                let fault_proxy = cluster.fault_proxy.as_ref().ok_or("there is no proxy before Redis")?;
                let lost = timeout(ASKED_WITHIN, fault_proxy.lose(question, times)).await;
                lost.map_err(|_| format!("nobody asked within {ASKED_WITHIN:?}"))?;
            }
            Step::Flood(count) => self.wire()?.flood(count).await?,
            Step::AwaitFlood => {
                let wire = self.wire()?;
                self.tend_during(wire.answered(FLOOD_PATIENCE)).await?;
            }
            Step::DestroyGroup => self.run(&["XGROUP", "DESTROY", REQUESTS, GROUP]).await?,
            Step::FlushAll => self.run(&["FLUSHALL"]).await?,
            Step::Upstream(mood) => match &cluster.upstream {
                Some(upstream) => upstream.set(mood),
                None => return Err("there is no upstream".to_owned()),
            },
        }
        Ok(None)
    }

    fn wire(&self) -> Result<&'a Wire, String> {
        self.wire.ok_or_else(|| "nothing goes past the ingresses".to_owned())
    }

    async fn measure_peak(&mut self, time: Duration) -> Result<(), String> {
        let (before, began) = (self.callers.good(), self.begin.elapsed());
        self.tend_during(sleep(time)).await?;
        let took = (self.begin.elapsed() - began).as_secs_f64();
        self.peak = (self.callers.good() - before) as f64 / took;
        self.progress
            .say(&format!("the peak is {:.0} good answers/s", self.peak));
        self.note(began, What::Peak(self.peak));
        Ok(())
    }

    fn signal(&mut self, role: Role, place: usize, signal: Signal) -> Result<Option<u32>, String> {
        let member = self.cluster.member(role, place)?;
        member.process.signal(signal)?;
        Ok(Some(member.instance))
    }

    async fn pause_clients(&mut self, time: Duration) -> Result<(), String> {
        self.run(&["CLIENT", "PAUSE", &time.as_millis().to_string(), "ALL"])
            .await?;
        self.tend_during(sleep(time)).await
    }

    async fn await_runs(&mut self, temper: Temper, count: usize) -> Result<(), String> {
        let deadline = Instant::now() + RUNS_PATIENCE;
        loop {
            let ledger = ledger::read(&self.cluster.ledger(), UNIX_EPOCH);
            let ledger = ledger.map_err(|error| format!("could not read it: {error}"))?;
            match ledger.iter().filter(|run| run.nonce.temper == temper).count() {
                runs if runs >= count => return Ok(()),
                runs if Instant::now() > deadline => return Err(format!("there were {runs}")),
                _ => self.tend_during(sleep(4 * TEND_INTERVAL)).await?,
            }
        }
    }

    async fn set_clock(&mut self, seconds: i64) -> Result<(), String> {
        self.cluster.redis.set_clock(seconds * 1000)?;
        let mut client = self.cluster.redis.client().await?;
        let (shown, _): (u64, u64) = client.run(&["TIME"]).await?;
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match (shown as f64 - ours.as_secs_f64() - seconds as f64).abs() {
            off if off < CLOCK_TOLERANCE => Ok(()),
            off => Err(format!("it is {off:.0} s off that")),
        }
    }

    async fn leave_memory(&mut self, bytes: u64) -> Result<(), String> {
        let mut client = self.cluster.redis.client().await?;
        let used = client.used_memory().await? as u64;
        let limit = match bytes {
            // Also when some of it is given back meanwhile.
            0 => used - used / 50,
            // The ingress closes its door at 0.9 of the limit.
            bytes => (used + bytes) * 10 / 9,
        };
        client
            .run::<redis::Value>(&["CONFIG", "SET", "maxmemory", &limit.to_string()])
            .await
            .map(|_| ())
    }

    async fn roll(&mut self, role: Role, place: usize) -> Result<u32, String> {
        let left = self.cluster.dismiss(role, place).await?;
        self.cluster.fill(role, place).await?;
        Ok(left)
    }

    async fn run(&mut self, words: &[&str]) -> Result<(), String> {
        let mut client = self.cluster.redis.client().await?;
        self.tend_during(client.run::<redis::Value>(words)).await??;
        Ok(())
    }
}
