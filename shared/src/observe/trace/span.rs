//! One span, or nothing: whoever records does not ask which.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{Link, Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};

use super::context::{Place, Trace};
use super::exporter;

/// What a span stands for
/// ([specification](https://opentelemetry.io/docs/specs/otel/trace/api/#spankind)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call that is served.
    Server,
    /// A message that is handed over.
    Producer,
    /// A message that is worked on.
    Consumer,
    /// Anything inside.
    Internal,
}

/// A span that is recorded until it is dropped; or nothing.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Trace {
    /// Begins a span here. Its name is made only where it is recorded.
    #[must_use]
    pub fn begin<N: Into<Cow<'static, str>>>(&self, kind: Kind, name: impl FnOnce() -> N) -> Span {
        self.begin_at(None, kind, name)
    }

    /// The same, of something that began earlier.
    #[must_use]
    pub fn begin_at<N: Into<Cow<'static, str>>>(
        &self,
        start: Option<SystemTime>,
        kind: Kind,
        name: impl FnOnce() -> N,
    ) -> Span {
        let parent = match self.place() {
            Place::Nowhere | Place::PassedOn(_) => return Span(None),
            Place::Beginning => Context::new(),
            Place::Under(span) => Context::new().with_remote_span_context(span.clone()),
        };
        let Some(tracer) = exporter::tracer() else {
            return Span(None);
        };
        let kind = match kind {
            Kind::Server => SpanKind::Server,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Internal => SpanKind::Internal,
        };
        let mut builder = tracer.span_builder(name()).with_kind(kind);
        builder.start_time = start;
        Span(Some(Box::new(builder.start_with_context(tracer, &parent))))
    }
}

impl Span {
    /// Where other spans are begun under this one; nowhere, where it is not recorded.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let span = self.0.as_ref();
        span.map_or_else(Trace::default, |span| Trace::under(span.span_context().clone()))
    }

    /// Whether it is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Notes something about it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Says that it failed, and how, in a word that is the same for the same failure.
    pub fn fail(&mut self, how: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", how));
            span.set_status(Status::error(how));
        }
    }

    /// Points to another place, with which it has to do.
    pub fn link(&mut self, to: &Trace, why: &'static str) {
        if let (Some(span), Place::Under(other)) = (&mut self.0, to.place()) {
            let link = Link::new(other.clone(), vec![KeyValue::new("roundtrip.link", why)], 0);
            span.add_link(link.span_context, link.attributes);
        }
    }

    /// Ends it, at a time that has passed.
    pub fn end_at(mut self, end: SystemTime) {
        if let Some(span) = &mut self.0 {
            span.end_with_timestamp(end);
        }
    }

    /// Notes that something happened.
    pub fn event(&mut self, what: &'static str) {
        if let Some(span) = &mut self.0 {
            span.add_event(what, Vec::new());
        }
    }
}
