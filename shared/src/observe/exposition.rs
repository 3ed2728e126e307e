//! What Prometheus reads, rendered a few times a second at most however many ask for it. The rule: rendering happens
//! once at a time, on a thread that serves nobody, and to its end whatever becomes of those who wait for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::observe::metrics::Metrics;

/// For how long a rendering is good. Shorter than any scrape interval; long enough that rendering, some tenths of a
/// millisecond, is nothing beside it.
const LIFETIME: Duration = Duration::from_millis(250);

/// The text of all metrics.
#[derive(Clone)]
pub(crate) struct Exposition(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    last: Mutex<Option<(Instant, Bytes)>>,
    /// Held by whoever renders.
    rendering: Arc<tokio::sync::Mutex<()>>,
}

impl Exposition {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            metrics,
            last: Mutex::default(),
            rendering: Arc::default(),
        }))
    }

    /// The last text, or a new one where that is too old.
    pub(crate) async fn text(&self) -> Bytes {
        if let Some(text) = self.last() {
            return text;
        }
        let rendering = self.0.rendering.clone().lock_owned().await;
        if let Some(text) = self.last() {
            return text;
        }
        let this = self.clone();
        let rendered = spawn_blocking(move || {
            let _rendering = rendering;
            let text = Bytes::from(this.0.metrics.encode());
            *this.0.last.lock().expect("nothing panics with the last text") = Some((Instant::now(), text.clone()));
            text
        });
        rendered.await.expect("metrics can be rendered")
    }

    fn last(&self) -> Option<Bytes> {
        let last = self.0.last.lock().expect("nothing panics with the last text");
        let (rendered, text) = last.as_ref()?;
        (rendered.elapsed() < LIFETIME).then(|| text.clone())
    }
}
