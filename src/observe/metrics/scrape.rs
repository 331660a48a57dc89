//! One scrape: the numbers as they are now, and their text.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

const PREFIX: &str = "fluidgate";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Which text a scraper reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// The classic one of Prometheus.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// What the Accept field of a scraper asks for.
    pub fn wanted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// Its Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => OPENMETRICS,
        }
    }
}

/// Collects what the sources tell. Names are without the prefix, counters without `_total`; times are in seconds and end with it.
#[derive(Debug, Default)]
pub struct Scrape {
    families: Vec<Family>,
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    rows: Vec<(Labels, u64)>,
}

impl Scrape {
    /// A counter by labels.
    pub fn counters<const N: usize, V: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        rows: impl IntoIterator<Item = ([V; N], u64)>,
    ) {
        self.family(name, help, MetricType::Counter, labels, rows);
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters::<0, &str>(name, help, [], [([], value)]);
    }

    /// A gauge by labels.
    pub fn gauges<const N: usize, V: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        rows: impl IntoIterator<Item = ([V; N], u64)>,
    ) {
        self.family(name, help, MetricType::Gauge, labels, rows);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.gauges::<0, &str>(name, help, [], [([], value)]);
    }

    /// The whole text.
    ///
    /// # Errors
    /// Never in practice: writing into memory does not fail.
    pub fn text(self, exposition: Exposition) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        match exposition {
            Exposition::Prometheus => prometheus_text::encode(&mut out, &registry)?,
            Exposition::OpenMetrics => text::encode(&mut out, &registry)?,
        }
        Ok(out)
    }

    fn family<const N: usize, V: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        labels: [&'static str; N],
        rows: impl IntoIterator<Item = ([V; N], u64)>,
    ) {
        let labelled = |(values, value): ([V; N], u64)| {
            (labels.into_iter().zip(values.map(Into::into)).collect(), value)
        };
        self.families.push(Family { name, help, kind, rows: rows.into_iter().map(labelled).collect() });
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, kind, rows } in &self.families {
            let stem = name.strip_suffix("_seconds");
            let unit = stem.map(|_| &Unit::Seconds);
            let mut family = encoder.encode_descriptor(stem.unwrap_or(name), help, unit, *kind)?;
            for (labels, value) in rows {
                let mut row = family.encode_family(labels)?;
                match kind {
                    MetricType::Counter => row.encode_counter::<NoLabelSet, _, u64>(value, None)?,
                    _ => row.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Scrape {
        let mut scrape = Scrape::default();
        scrape.counters("logins", "Logins", ["result"], [(["granted"], 2), (["refused"], 0)]);
        scrape.gauge("start_time_seconds", "When it started", 1_800_000_000);
        scrape
    }

    #[test]
    fn a_scrape_is_text_that_prometheus_reads() {
        assert_eq!(
            sample().text(Exposition::Prometheus).unwrap(),
            "# HELP fluidgate_logins_total Logins\n# TYPE fluidgate_logins_total counter\n\
             fluidgate_logins_total{result=\"granted\"} 2\nfluidgate_logins_total{result=\"refused\"} 0\n\
             # HELP fluidgate_start_time_seconds When it started\n# TYPE fluidgate_start_time_seconds gauge\n\
             fluidgate_start_time_seconds 1800000000\n"
        );
    }

    #[test]
    fn a_scraper_that_asks_for_openmetrics_gets_it() {
        let wanted = Exposition::wanted(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"));
        let text = sample().text(wanted).unwrap();
        assert!(
            text.ends_with("# EOF\n") && text.contains("# UNIT fluidgate_start_time_seconds seconds\n"),
            "{text}"
        );
        assert_eq!(Exposition::wanted(Some("text/plain")), Exposition::Prometheus);
        assert_eq!(Exposition::wanted(None), Exposition::Prometheus);
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut scrape = Scrape::default();
        scrape.gauges("x", "X", ["route"], [(["a\"} 1\nb\\"], 1)]);
        let text = scrape.text(Exposition::Prometheus).unwrap();
        assert!(text.ends_with("fluidgate_x{route=\"a\\\"} 1\\nb\\\\\"} 1\n"), "{text}");
    }
}
