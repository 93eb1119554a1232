//! Prometheus' text format 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Write;

use qwen3_embedding::service::Histogram;

/// Every name begins with it.
const PREFIX: &str = "qwen3_embed_";

/// What is written so far.
#[derive(Default)]
pub(super) struct Text {
    out: String,
    /// The family that samples belong to.
    name: String,
}

impl Text {
    /// Begins a family of samples.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.name = format!("{PREFIX}{name}");
        let name = &self.name;
        self.out += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    /// A family of one sample.
    pub(super) fn value(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A family of one of the service's histograms.
    pub(super) fn measured(&mut self, name: &str, help: &str, measured: &Histogram) {
        self.family(name, "histogram", help);
        self.histogram(&[], measured.bounds, &measured.counts, measured.sum);
    }

    /// A histogram of the family. There is one more count than there are bounds.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let bounds = bounds.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (bound, count) in bounds.zip(counts) {
            total += count;
            let labels = [labels, &[("le", &bound)]].concat();
            self.line("_bucket", &labels, total as f64);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, total as f64);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "{}{suffix}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative() {
        let mut text = Text::default();
        text.family("x", "histogram", "Help.");
        text.histogram(&[("a", "q\"\\\n")], &[0.5, 1.0], &[1, 2, 3], 9.5);
        assert_eq!(
            text.finish(),
            "# HELP qwen3_embed_x Help.\n# TYPE qwen3_embed_x histogram\n\
             qwen3_embed_x_bucket{a=\"q\\\"\\\\\\n\",le=\"0.5\"} 1\n\
             qwen3_embed_x_bucket{a=\"q\\\"\\\\\\n\",le=\"1\"} 3\n\
             qwen3_embed_x_bucket{a=\"q\\\"\\\\\\n\",le=\"+Inf\"} 6\n\
             qwen3_embed_x_sum{a=\"q\\\"\\\\\\n\"} 9.5\n\
             qwen3_embed_x_count{a=\"q\\\"\\\\\\n\"} 6\n"
        );
    }
}
