//! Where something stands in a trace: what spans are begun under, and what travels as `traceparent`.

use std::fmt::Write as _;
use std::sync::Arc;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::exporter;

/// A place in a trace, or none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trace(Place);

#[derive(Debug, Clone, Default)]
pub(crate) enum Place {
    /// Nothing is recorded.
    #[default]
    Nowhere,
    /// Nothing is recorded here; whoever comes next is told where the caller stands.
    PassedOn(SpanContext),
    /// Recorded, and this is where it begins.
    Beginning,
    /// Recorded, under this span.
    Under(SpanContext),
}

impl Trace {
    /// The place of a call, by its caller's `traceparent`. Its decision whether to record counts; where it has none,
    /// the configured share of calls is recorded. What is malformed is as good as none, as the specification asks.
    #[must_use]
    pub fn of_call(traceparent: Option<&str>) -> Self {
        let (ratio, theirs) = (exporter::ratio(), traceparent.and_then(parse));
        Self(match theirs {
            Some(theirs) if theirs.is_sampled() && ratio.is_some() => Place::Under(theirs),
            Some(theirs) => Place::PassedOn(theirs),
            None if ratio.is_some_and(|ratio| fastrand::f64() < ratio) => Place::Beginning,
            None => Place::Nowhere,
        })
    }

    /// The place of a message, by the `traceparent` that came with it. Who sent it has decided.
    #[must_use]
    pub fn of_message(traceparent: Option<&str>) -> Self {
        let recorded = || {
            exporter::ratio()
                .and(traceparent)
                .and_then(parse)
                .filter(SpanContext::is_sampled)
        };
        Self(recorded().map_or(Place::Nowhere, Place::Under))
    }

    pub(crate) fn under(span: SpanContext) -> Self {
        Self(Place::Under(span))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }

    /// Whether anything is recorded here.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        matches!(self.0, Place::Beginning | Place::Under(_))
    }

    /// The trace's id in hexadecimal, for logs; `None` where nothing is recorded.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match &self.0 {
            Place::Under(span) => Some(span.trace_id().to_string()),
            _ => None,
        }
    }

    /// What travels on: always in our own version and length, whatever the caller sent behind what that says.
    #[must_use]
    pub fn traceparent(&self) -> Option<Arc<str>> {
        match &self.0 {
            Place::Under(span) | Place::PassedOn(span) => Some(write(span).into()),
            Place::Nowhere | Place::Beginning => None,
        }
    }
}

fn write(span: &SpanContext) -> String {
    let mut text = String::with_capacity(LENGTH);
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    let _ = write!(text, "00-{}-{}-{:02x}", span.trace_id(), span.span_id(), flags);
    text
}

/// The length of a `traceparent` of version 00, and of what counts in one of a later version.
const LENGTH: usize = 55;

/// `version-trace-parent-flags`, in lower case hexadecimal. A later version may have more behind that, after a dash
/// (<https://www.w3.org/TR/trace-context/#versioning-of-traceparent>). The SDK's propagator takes ids of any length.
fn parse(text: &str) -> Option<SpanContext> {
    let (text, tail) = text.split_at_checked(LENGTH)?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let fits = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let may_follow = tail.is_empty() || (version != "00" && tail.starts_with('-'));
    if !fits || version == "ff" || !may_follow {
        return None;
    }
    let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, parent, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_reads_back_as_it_was_written() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(write(&parse(text).unwrap()), text);
        // Other flags than ours are not passed on; a later version is read as ours.
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more";
        assert_eq!(write(&parse(later).unwrap()), text);
    }

    #[test]
    fn what_travels_on_has_no_tail() {
        let (text, version) = ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "cc");
        for tail in [String::new(), "-".to_owned(), format!("-{}", "x".repeat(16 * 1024))] {
            let later = format!("{version}{}{tail}", &text[2..]);
            let travels = Trace::of_call(Some(&later)).traceparent();
            assert_eq!(travels.as_deref(), Some(text), "a tail of {} bytes", tail.len());
        }
    }

    #[test]
    fn what_is_malformed_is_as_good_as_none() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031\u{e4}-b7ad6b7169203331-01",
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn without_a_collector_nothing_is_recorded_and_everything_passed_on() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::of_call(Some(text));
        assert!(!trace.is_recorded() && trace.id().is_none());
        assert_eq!(trace.traceparent().as_deref(), Some(text));
        assert!(Trace::of_call(Some("nonsense")).traceparent().is_none());
        assert!(!Trace::of_message(Some(text)).is_recorded());
    }
}
