//! Handles, one for each value of each label, made before anything happens.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::labels::Label;
use super::names::{ALL, Kind, Metric};

/// The series of one node.
pub(super) struct Registry {
    recorder: PrometheusRecorder,
}

impl Registry {
    pub(super) fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in ALL {
            if let Kind::Histogram(buckets) = metric.kind {
                let name = Matcher::Full(metric.name.to_owned());
                builder = builder.set_buckets_for_metric(name, buckets).expect("buckets are never empty");
            }
        }
        let recorder = builder.build_recorder();
        for metric in ALL {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, Some(metric.unit), help),
                Kind::Gauge => recorder.describe_gauge(name, Some(metric.unit), help),
                Kind::Histogram(_) => recorder.describe_histogram(name, Some(metric.unit), help),
            }
        }
        Self { recorder }
    }

    pub(super) const fn recorder(&self) -> &PrometheusRecorder {
        &self.recorder
    }

    pub(super) fn render(&self) -> String {
        self.recorder.handle().render()
    }

    pub(super) fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }

    /// The one series of a metric without labels.
    pub(super) fn one<H: Handle>(&self, metric: &Metric) -> H {
        self.labelled(metric, Vec::new())
    }

    /// A series with labels that are known when the node starts.
    pub(super) fn labelled<H: Handle>(&self, metric: &Metric, labels: Vec<metrics::Label>) -> H {
        H::register(&self.recorder, &Key::from_parts(metric.name, labels))
    }

    /// A series for each value of `L`.
    pub(super) fn family<H: Handle, L: Labels>(&self, metric: &Metric) -> Family<H, L> {
        self.family_with(metric, &[])
    }

    fn family_with<H: Handle, L: Labels>(&self, metric: &Metric, more: &[metrics::Label]) -> Family<H, L> {
        let series = L::all().into_iter().map(|mut labels| {
            labels.extend_from_slice(more);
            self.labelled(metric, labels)
        });
        Family { series: series.collect(), labels: PhantomData }
    }

    /// A series for each namespace.
    pub(super) fn by_namespace<H: Handle>(&self, metric: &Metric, names: &[Arc<str>]) -> ByNamespace<H> {
        ByNamespace::new(names, |label| self.labelled(metric, vec![label]))
    }

    /// A series for each namespace and each value of `L`.
    pub(super) fn family_by_namespace<H: Handle, L: Labels>(
        &self,
        metric: &Metric,
        names: &[Arc<str>],
    ) -> ByNamespace<Family<H, L>> {
        ByNamespace::new(names, |label| self.family_with(metric, &[label]))
    }
}

/// What records one series.
pub(super) trait Handle: Sized {
    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self;
}

const METADATA: Metadata<'static> = Metadata::new(env!("CARGO_PKG_NAME"), Level::INFO, None);

impl Handle for Counter {
    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self {
        recorder.register_counter(key, &METADATA)
    }
}

impl Handle for Gauge {
    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self {
        recorder.register_gauge(key, &METADATA)
    }
}

impl Handle for Histogram {
    fn register(recorder: &PrometheusRecorder, key: &Key) -> Self {
        recorder.register_histogram(key, &METADATA)
    }
}

/// One label, or several.
pub trait Labels {
    /// Every combination, in the order of [`index`](Self::index).
    fn all() -> Vec<Vec<metrics::Label>>;

    /// The place of this combination in [`all`](Self::all).
    fn index(self) -> usize;
}

impl<A: Label> Labels for A {
    fn all() -> Vec<Vec<metrics::Label>> {
        A::ALL.iter().map(|value| vec![metrics::Label::new(A::NAME, value.value())]).collect()
    }

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn all() -> Vec<Vec<metrics::Label>> {
        product(A::all(), &B::all())
    }

    fn index(self) -> usize {
        Label::index(self.0) * B::ALL.len() + Label::index(self.1)
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn all() -> Vec<Vec<metrics::Label>> {
        product(<(A, B)>::all(), &C::all())
    }

    fn index(self) -> usize {
        Labels::index((self.0, self.1)) * C::ALL.len() + Label::index(self.2)
    }
}

fn product(outer: Vec<Vec<metrics::Label>>, inner: &[Vec<metrics::Label>]) -> Vec<Vec<metrics::Label>> {
    let pairs = outer.into_iter().flat_map(|outer| inner.iter().map(move |inner| [outer.as_slice(), inner].concat()));
    pairs.collect()
}

/// The series of one metric by the labels `L`.
pub struct Family<H, L> {
    series: Box<[H]>,
    labels: PhantomData<fn(L)>,
}

pub type Counters<L> = Family<Counter, L>;
pub type Gauges<L> = Family<Gauge, L>;
pub type Histograms<L> = Family<Histogram, L>;

impl<H, L: Labels> Family<H, L> {
    /// The series of `labels`.
    pub fn of(&self, labels: L) -> &H {
        &self.series[labels.index()]
    }
}

/// What is kept for each namespace, and once for those that are in no registry.
pub struct ByNamespace<H> {
    known: HashMap<Arc<str>, H, foldhash::fast::FixedState>,
    other: H,
}

impl<H> ByNamespace<H> {
    fn new(names: &[Arc<str>], make: impl Fn(metrics::Label) -> H) -> Self {
        // No namespace can have a name with parentheses.
        let value = |name: &Arc<str>| if name.is_empty() { "(default)".to_owned() } else { name.to_string() };
        let label = |value: String| metrics::Label::new("namespace", value);
        let known = names.iter().map(|name| (Arc::clone(name), make(label(value(name)))));
        Self { known: known.collect(), other: make(label("(other)".to_owned())) }
    }

    /// What is kept for the namespace `name`.
    pub fn of(&self, name: &str) -> &H {
        self.known.get(name).unwrap_or(&self.other)
    }
}
