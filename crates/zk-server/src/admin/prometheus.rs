//! The text format of Prometheus under the names of Apache 3.9's exporter (operations 5).

use std::fmt::Write;

use super::facts::Inspect;
use super::java;
use super::monitor::{ACK_LATENCY, QUOTA_EXCEEDED, QUOTAS, Value, gauges};
use super::process;
use super::summary::{Detail, Summary};

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics. Texts such as the version have no series, as in Apache.
pub(super) fn text(server: &dyn Inspect) -> String {
    let mut out = String::with_capacity(32 << 10);
    let metrics = server.metrics();
    let is_member = server.quorum().is_some();
    for (name, value) in gauges(server) {
        let number = match value {
            Value::Text(_) => continue,
            Value::Whole(number) => number as f64,
            Value::Real(number) => number,
        };
        head(&mut out, name, "gauge");
        sample(&mut out, name, "", number);
    }
    let quotas = server.quotas();
    for (name, value) in QUOTAS {
        head(&mut out, name, "gauge");
        for (key, quota) in &quotas {
            let labels = format!("{{key=\"{}\"}}", escaped(key));
            sample(&mut out, name, &labels, value(quota) as f64);
        }
    }
    head(&mut out, QUOTA_EXCEEDED, "counter");
    for (key, count) in metrics.quota_exceeded_error_per_namespace.get() {
        sample(&mut out, QUOTA_EXCEEDED, &format!("{{key=\"{}\"}}", escaped(&key)), count as f64);
    }
    for (name, counter) in metrics.shown_counters(is_member) {
        head(&mut out, name, "counter");
        sample(&mut out, name, "", counter.get() as f64);
    }
    for (name, is_counter, value) in process::figures() {
        head(&mut out, name, if is_counter { "counter" } else { "gauge" });
        sample(&mut out, name, "", value);
    }
    for (name, summary) in metrics.shown_summaries(is_member) {
        head(&mut out, name, "summary");
        distribution(&mut out, name, "", summary);
    }
    if is_member {
        head(&mut out, ACK_LATENCY, "summary");
        for (sid, summary) in metrics.quorum.ack_latency.get() {
            distribution(&mut out, ACK_LATENCY, &format!("key=\"{sid}\""), &summary);
        }
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str) {
    // Writing to a String cannot fail, here and below. Apache's help text is the name too.
    let _ = writeln!(out, "# HELP {name} {name}\n# TYPE {name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "{name}{labels} {}", java::double(value));
}

/// A text of a client as a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The quantiles of Apache's exporter, which are not those of `mntr`.
fn distribution(out: &mut String, name: &str, label: &str, summary: &Summary) {
    let quantiles: &[&str] = match summary.detail {
        Detail::Basic => &["0.5"],
        Detail::Advanced => &["0.5", "0.9", "0.99"],
    };
    for share in quantiles {
        let value = summary.percentile(share.parse().unwrap_or(0.5));
        let comma = if label.is_empty() { "" } else { "," };
        sample(out, name, &format!("{{{label}{comma}quantile=\"{share}\"}}"), value);
    }
    let labels = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    sample(out, &format!("{name}_count"), &labels, summary.count() as f64);
    sample(out, &format!("{name}_sum"), &labels, summary.sum());
}
