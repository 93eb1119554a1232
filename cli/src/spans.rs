//! What the library's spans tell: time by name, tokens that were computed, files that were read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Adds up the spans of all threads; a clone adds to the same sums.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    totals: Arc<Mutex<Totals>>,
}

/// The sums since they were last taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    times: BTreeMap<&'static str, Times>,
    /// Tokens that were asked for.
    pub(crate) useful: u64,
    /// Tokens that were computed, padding included.
    pub(crate) computed: u64,
    /// Files beside the model's own that were read.
    pub(crate) files: Vec<PathBuf>,
}

/// The time in the spans of one name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// From beginning to end.
    pub(crate) all: Duration,
    /// The same without the spans within.
    pub(crate) own: Duration,
}

/// A span that is open, or was.
#[derive(Default)]
struct Timing {
    entered: Option<Instant>,
    within: Duration,
}

impl Collector {
    /// Which spans are of interest: the library's.
    pub(crate) fn filter() -> Targets {
        Targets::new().with_target("qwen3_embedding", Level::DEBUG)
    }

    /// The sums so far; they begin anew.
    pub(crate) fn take(&self) -> Totals {
        std::mem::take(&mut self.totals())
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    /// The time in spans of this name.
    pub(crate) fn of(&self, name: &str) -> Times {
        self.times.get(name).copied().unwrap_or_default()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        match attributes.metadata().name() {
            "pass" => self.totals().computed += fields.rows * fields.width,
            "forward" => self.totals().useful += fields.tokens,
            _ => {}
        }
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Timing::default());
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(timing) = span.extensions_mut().get_mut::<Timing>() {
            timing.within = Duration::ZERO;
            timing.entered = Some(Instant::now());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let Some((all, within)) = span
            .extensions_mut()
            .get_mut::<Timing>()
            .and_then(|timing| {
                let entered = timing.entered.take()?;
                Some((entered.elapsed(), timing.within))
            })
        else {
            return;
        };
        if let Some(parent) = span.parent()
            && let Some(timing) = parent.extensions_mut().get_mut::<Timing>()
        {
            timing.within += all;
        }
        let mut totals = self.totals();
        let times = totals.times.entry(span.name()).or_default();
        times.all += all;
        times.own += all.saturating_sub(within);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.totals().files.extend(fields.file);
    }
}

/// The fields of spans and events that are added up.
#[derive(Default)]
struct Fields {
    rows: u64,
    width: u64,
    tokens: u64,
    file: Option<PathBuf>,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "rows" => self.rows = value,
            "width" => self.width = value,
            "tokens" => self.tokens = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "file" {
            self.file = Some(format!("{value:?}").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_spans_own_time_leaves_out_the_spans_within() {
        let collector = Collector::default();
        let subscriber = tracing_subscriber::registry().with(collector.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _outer = tracing::debug_span!("forward", tokens = 5_usize).entered();
            for _ in 0..2 {
                let _inner =
                    tracing::debug_span!("pass", rows = 2_usize, width = 3_usize).entered();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let totals = collector.take();
        assert_eq!((totals.useful, totals.computed), (5, 12));
        let (forward, pass) = (totals.of("forward"), totals.of("pass"));
        assert_eq!(forward.own + pass.all, forward.all);
        assert_eq!(pass.own, pass.all);
        assert!(pass.all >= Duration::from_millis(4));
        assert_eq!(collector.take().computed, 0);
    }
}
