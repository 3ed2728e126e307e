//! What happened in a history: facts, to be judged, and, where somebody wants to read it, the story of each request.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use roundtrip::{CorrelationId, FaultCode, Reply, Request};

use crate::entropy;

/// A number for each piece of work that is asked for; its city is named after it.
pub(crate) type Work = u64;

/// What was decided of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Answer,
    Fault(FaultCode),
    Letter,
}

impl Told {
    pub(crate) fn of(reply: &Reply, is_letter: bool) -> Self {
        match &reply.outcome {
            _ if is_letter => Self::Letter,
            Ok(_) => Self::Answer,
            Err(fault) => Self::Fault(fault.code),
        }
    }
}

/// A request in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) id: CorrelationId,
    pub(crate) at: Duration,
    pub(crate) budget: Duration,
}

/// An attempt of a handler.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: CorrelationId,
    pub(crate) began: Duration,
    pub(crate) ended: Option<Duration>,
    pub(crate) delivery: u32,
    pub(crate) instance: String,
}

/// A settlement that counted.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) id: CorrelationId,
    pub(crate) at: Duration,
    pub(crate) told: Told,
}

/// All facts of one piece of work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) published: Vec<Published>,
    /// When a worker got it, which may have died before it began.
    pub(crate) delivered: Vec<(CorrelationId, Duration)>,
    pub(crate) runs: Vec<Run>,
    pub(crate) settled: Vec<Settled>,
}

#[derive(Debug, Default)]
struct Book {
    works: BTreeMap<Work, Facts>,
    by_id: HashMap<CorrelationId, Work>,
    story: Vec<(Duration, Option<Work>, String)>,
    faults: u64,
}

/// The book of one history.
#[derive(Debug)]
pub(crate) struct Log {
    tells: bool,
    book: Mutex<Book>,
}

impl Log {
    /// An empty book; `tells`: with the story.
    pub(crate) fn new(tells: bool) -> Self {
        Self {
            tells,
            book: Mutex::default(),
        }
    }

    pub(crate) fn published(&self, by: &str, request: &Request) {
        let Some(work) = work_in(&request.data) else { return };
        let budget = request.budget.as_duration();
        let mut book = self.book();
        book.by_id.insert(request.id, work);
        book.works.entry(work).or_default().published.push(Published {
            id: request.id,
            at: entropy::elapsed(),
            budget,
        });
        drop(book);
        self.tell(Some(work), || {
            format!(
                "{} is in the stream, from {by}, for {budget:?}, {:?}",
                short(request.id),
                request.keep
            )
        });
    }

    pub(crate) fn not_published(&self, by: &str, request: &Request, why: &str) {
        let work = work_in(&request.data);
        self.tell(work, || {
            format!("{} of {by} was not published: {why}", short(request.id))
        });
    }

    /// Notes that a worker gets a request.
    pub(crate) fn delivered(&self, to: &str, id: CorrelationId) {
        let mut book = self.book();
        let work = book.by_id.get(&id).copied();
        if let Some(facts) = work.and_then(|work| book.works.get_mut(&work)) {
            facts.delivered.push((id, entropy::elapsed()));
        }
        drop(book);
        self.tell(work, || format!("{} is delivered to {to}", short(id)));
    }

    /// Notes that an attempt begins; returns its place.
    pub(crate) fn began(&self, work: Work, id: CorrelationId, delivery: u32, instance: &str) -> usize {
        let mut book = self.book();
        let runs = &mut book.works.entry(work).or_default().runs;
        runs.push(Run {
            id,
            began: entropy::elapsed(),
            ended: None,
            delivery,
            instance: instance.to_owned(),
        });
        let place = runs.len() - 1;
        drop(book);
        self.tell(Some(work), || {
            format!(
                "run {} of {} begins on {instance}, delivery {delivery}",
                place + 1,
                short(id)
            )
        });
        place
    }

    pub(crate) fn run_ended(&self, work: Work, place: usize, how: &str) {
        if let Some(run) = self
            .book()
            .works
            .get_mut(&work)
            .and_then(|facts| facts.runs.get_mut(place))
        {
            run.ended = Some(entropy::elapsed());
        }
        self.tell(Some(work), || format!("run {} ends: {how}", place + 1));
    }

    pub(crate) fn settled(&self, by: &str, id: CorrelationId, told: Told, counts: bool) {
        let mut book = self.book();
        let work = book.by_id.get(&id).copied();
        if let Some(facts) = work.and_then(|work| book.works.get_mut(&work)).filter(|_| counts) {
            facts.settled.push(Settled {
                id,
                at: entropy::elapsed(),
                told,
            });
        }
        drop(book);
        self.tell(work, || {
            let how = if counts { "settles" } else { "would settle, too late," };
            format!("{by} {how} {} as {told:?}", short(id))
        });
    }

    /// Tells something of a request.
    pub(crate) fn note(&self, id: CorrelationId, what: impl FnOnce() -> String) {
        if self.tells {
            let work = self.book().by_id.get(&id).copied();
            self.tell(work, || format!("{}: {}", short(id), what()));
        }
    }

    /// Tells something, of a piece of work or of everybody.
    pub(crate) fn tell(&self, work: Option<Work>, what: impl FnOnce() -> String) {
        if self.tells {
            let line = (entropy::elapsed(), work, what());
            self.book().story.push(line);
        }
    }

    /// Counts something that was broken on purpose.
    pub(crate) fn fault(&self, what: impl FnOnce() -> String) {
        self.book().faults += 1;
        self.tell(None, what);
    }

    pub(crate) fn faults(&self) -> u64 {
        self.book().faults
    }

    pub(crate) fn facts(&self) -> BTreeMap<Work, Facts> {
        self.book().works.clone()
    }

    pub(crate) fn work_of(&self, id: CorrelationId) -> Option<Work> {
        self.book().by_id.get(&id).copied()
    }

    /// How often a piece of work was attempted.
    pub(crate) fn runs_of(&self, work: Work) -> usize {
        self.book().works.get(&work).map_or(0, |facts| facts.runs.len())
    }

    /// What happened to a piece of work, and to everybody.
    pub(crate) fn story(&self, work: Option<Work>) -> Vec<String> {
        let book = self.book();
        let lines = book
            .story
            .iter()
            .filter(|(_, of, _)| work.is_none() || of.is_none() || *of == work);
        lines
            .map(|(at, of, what)| match of {
                Some(_) => format!("{:9.3} s  {what}", at.as_secs_f64()),
                None => format!("{:9.3} s  * {what}", at.as_secs_f64()),
            })
            .collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics with the book")
    }
}

/// The city of a piece of work.
pub(crate) fn city(work: Work) -> String {
    format!("w-{work}")
}

/// The piece of work that a document is about.
pub(crate) fn work_in(data: &[u8]) -> Option<Work> {
    const MARK: &[u8] = b"\"city\":\"w-";
    let at = data.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits: Vec<u8> = data[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// The end of an id, which is random.
pub(crate) fn short(id: CorrelationId) -> String {
    let text = id.to_string();
    text[text.len() - 6..].to_owned()
}
