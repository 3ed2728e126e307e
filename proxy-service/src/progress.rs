//! How far work has come, for those who watch. Handlers report as often as they like; what is written is the last
//! word of a moment, for all jobs of this process at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roundtrip::CorrelationId;
use roundtrip::broker::{Progress, ResultStore};
use roundtrip::process::logging::with_causes;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The shortest time between two writes: a person sees no more than a few values a second.
const MOMENT: Duration = Duration::from_millis(100);

/// Reports that wait to be written. What finds no room is left out: the next report says more.
const MAX_WAITING: usize = 1024;

type Report = (CorrelationId, Progress);

/// Where a handler reports how far its job has come. Costs nothing where nobody can ask.
#[derive(Clone, Default)]
pub struct Reporter(Option<(CorrelationId, mpsc::Sender<Report>)>);

impl Reporter {
    /// For a job that nobody watches.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Says how far the work has come: 0 to 100 percent, and what is being done in words for callers (at most
    /// [`Progress::MAX_MESSAGE`] bytes).
    pub fn report(&self, percent: u8, message: &str) {
        if let Some((id, reports)) = &self.0 {
            let _ = reports.try_send((*id, Progress::new(percent, message)));
        }
    }

    /// Whether somebody can ask.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reporter").field(&self.is_watched()).finish()
    }
}

/// Makes reporters.
#[derive(Debug, Clone)]
pub(crate) struct Reports(mpsc::Sender<Report>);

impl Reports {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    pub(crate) fn of(&self, id: CorrelationId) -> Reporter {
        Reporter(Some((id, self.0.clone())))
    }
}

/// Writes reports until the last reporter is gone.
pub(crate) async fn run(records: Arc<dyn ResultStore>, mut reports: mpsc::Receiver<Report>) {
    let mut latest = HashMap::new();
    while let Some((id, progress)) = reports.recv().await {
        latest.insert(id, progress);
        while let Ok((id, progress)) = reports.try_recv() {
            latest.insert(id, progress);
        }
        for (id, progress) in latest.drain() {
            if let Err(error) = records.note_progress(id, &progress).await {
                tracing::debug!(request_id = %id, error = with_causes(&error), "progress was not noted");
            }
        }
        sleep(MOMENT).await;
    }
}
