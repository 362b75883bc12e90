//! The figures of `mntr`, of the HTTP command `monitor` and of Prometheus (operations 3.1).

use std::fmt::Write;

use super::facts::{Inspect, QuotaFacts};
use super::summary::{Detail, Summary};
use super::{ensemble, environment, full_version, java};

/// One figure.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Real(f64),
}

/// The gauges, by Apache's names.
pub(super) fn gauges(server: &dyn Inspect) -> Vec<(&'static str, Value)> {
    let (stats, tree) = (&server.metrics().stats, server.tree());
    let [last, least, greatest] = stats.responses.last_least_greatest();
    let whole = |n: u64| Value::Whole(n as i64);
    let mut out = vec![
        ("avg_latency", Value::Real(stats.latency.avg())),
        ("max_latency", Value::Whole(stats.latency.max() as i64)),
        ("min_latency", Value::Whole(stats.latency.min() as i64)),
        ("packets_received", whole(stats.packets_received.get())),
        ("packets_sent", whole(stats.packets_sent.get())),
        ("num_alive_connections", whole(server.connection_count() as u64)),
        ("outstanding_requests", whole(server.outstanding_count() as u64)),
        ("uptime", whole(server.uptime_ms())),
        ("znode_count", whole(tree.shown_node_count())),
        ("watch_count", whole(tree.watch_count)),
        ("ephemerals_count", whole(tree.ephemeral_count)),
        ("approximate_data_size", whole(tree.shown_data_bytes())),
        ("global_sessions", whole(tree.session_count)),
        ("local_sessions", whole(tree.local_session_count)),
        ("connection_drop_probability", Value::Real(server.connection_drop_probability())),
        ("last_client_response_size", Value::Whole(last)),
        ("max_client_response_size", Value::Whole(greatest)),
        ("min_client_response_size", Value::Whole(least)),
        ("outstanding_tls_handshake", whole(server.tls_handshake_count() as u64)),
        ("auth_failed_count", whole(stats.auth_failed_count.get())),
        ("non_mtls_remote_conn_count", whole(stats.non_mtls_remote_conn_count.get())),
        ("non_mtls_local_conn_count", whole(stats.non_mtls_local_conn_count.get())),
    ];
    if let Some([open, most]) = environment::file_descriptors() {
        out.push(("open_file_descriptor_count", whole(open)));
        out.push(("max_file_descriptor_count", whole(most)));
    }
    ensemble::gauges(server, &mut out);
    out
}

/// A gauge with a value for each namespace.
pub(super) type GaugeSet = (&'static str, fn(&QuotaFacts) -> i64);

/// Apache's gauges of quotas.
pub(super) const QUOTAS: [GaugeSet; 4] = [
    ("quota_count_limit_per_namespace", |quota| quota.count_limit),
    ("quota_bytes_limit_per_namespace", |quota| quota.bytes_limit),
    ("quota_count_usage_per_namespace", |quota| quota.count),
    ("quota_bytes_usage_per_namespace", |quota| quota.bytes),
];

/// Apache's counters of writes that quotas refused.
pub(super) const QUOTA_EXCEEDED: &str = "quota_exceeded_error_per_namespace";

/// Apache's distributions of ACKs by member.
pub(super) const ACK_LATENCY: &str = "ack_latency";

/// All figures by name, without the `zk_` of `mntr`.
pub(super) fn figures(server: &dyn Inspect) -> Vec<(String, Value)> {
    let metrics = server.metrics();
    let mut out = vec![
        ("version".to_owned(), Value::Text(full_version())),
        ("server_state".to_owned(), Value::Text(server.mode().name().to_owned())),
    ];
    out.extend(ensemble::roles(server));
    out.extend(gauges(server).into_iter().map(|(name, value)| (name.to_owned(), value)));
    let is_member = server.quorum().is_some();
    let quotas = server.quotas();
    for (name, value) in QUOTAS {
        let of = |(key, quota): &(String, _)| (format!("{key}_{name}"), Value::Whole(value(quota)));
        out.extend(quotas.iter().map(of));
    }
    for (key, count) in metrics.quota_exceeded_error_per_namespace.get() {
        out.push((format!("{key}_{QUOTA_EXCEEDED}"), Value::Whole(count as i64)));
    }
    for (name, counter) in metrics.shown_counters(is_member) {
        out.push((name.to_owned(), Value::Whole(counter.get() as i64)));
    }
    for detail in [Detail::Basic, Detail::Advanced] {
        for (name, summary) in metrics.shown_summaries(is_member) {
            if summary.detail == detail {
                distribution(&mut out, name, summary);
            }
        }
    }
    for (sid, summary) in metrics.quorum.ack_latency.get() {
        distribution(&mut out, &format!("{sid}_{ACK_LATENCY}"), &summary);
    }
    out
}

/// Apache's fields of a distribution: whole numbers except the average.
fn distribution(out: &mut Vec<(String, Value)>, name: &str, summary: &Summary) {
    let mut push = |field: &str, value| out.push((format!("{field}_{name}"), value));
    let whole = |value: f64| Value::Whole(value as i64);
    push("avg", Value::Real(summary.avg()));
    push("min", whole(summary.min()));
    push("max", whole(summary.max()));
    push("cnt", Value::Whole(summary.count() as i64));
    push("sum", whole(summary.sum()));
    if summary.detail == Detail::Advanced {
        for (field, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            push(field, whole(summary.percentile(share)));
        }
    }
}

/// The answer of `mntr`.
pub(super) fn text(out: &mut String, server: &dyn Inspect) {
    for (name, value) in figures(server) {
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Text(text) => writeln!(out, "zk_{name}\t{text}"),
            Value::Whole(number) => writeln!(out, "zk_{name}\t{number}"),
            Value::Real(number) => writeln!(out, "zk_{name}\t{}", java::double(number)),
        };
    }
}
