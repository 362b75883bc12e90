//! `/metrics` in the text format of Prometheus, parsed whole, and figures that move.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use zk_proto::request::CreateMode;
use zk_testkit::{Engine, http};

use crate::site::Site;

type Samples = BTreeMap<String, f64>;

fn is_name(text: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(is_first) && text.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

/// Samples by name and labels; panics at whatever the format does not allow.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line is not ended");
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    // Name and type of the family to which samples belong now.
    let mut family = (String::new(), None::<String>);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            family = (name.to_owned(), None);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!((name, &family.1), (family.0.as_str(), &None), "{line}: HELP comes first");
            assert!(["counter", "gauge", "summary"].contains(&kind), "{line}");
            family.1 = Some(kind.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let name = series.split('{').next().unwrap();
            let kind = family.1.as_deref().unwrap_or_else(|| panic!("{line}: without TYPE"));
            let suffix = name.strip_prefix(family.0.as_str()).expect(line);
            let allowed: &[&str] = if kind == "summary" { &["", "_sum", "_count"] } else { &[""] };
            assert!(is_name(name) && allowed.contains(&suffix), "{line}: of {family:?}");
            check_labels(&series[name.len()..], kind == "summary" && suffix.is_empty(), line);
            let value = value.parse::<f64>().expect(line);
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line}: twice");
        }
    }
    assert!(families.len() > 40 && samples.len() > families.len(), "{text}");
    samples
}

fn check_labels(labels: &str, wants_quantile: bool, line: &str) {
    let inner = labels.strip_prefix('{').map(|rest| rest.strip_suffix('}').expect(line));
    let pairs = inner.unwrap_or_default().split(',').filter(|pair| !pair.is_empty());
    let mut names = Vec::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').expect(line);
        assert!(is_name(name) && value.starts_with('"') && value.ends_with('"'), "{line}");
        names.push(name);
    }
    let all = names.len();
    assert_eq!(names.contains(&"quantile"), wants_quantile, "{line}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{line}: a label twice");
}

fn scrape(addr: SocketAddr) -> Samples {
    let answer = http(addr, "GET /metrics", &[], b"").unwrap();
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    parse(&answer.text())
}

#[test]
fn both_ports_serve_the_format_of_prometheus() {
    let site = Site::start(Engine::Ours, &[]);
    let _clients = site.load();
    let [admin, provider] = [site.admin, site.metrics].map(scrape);
    assert_eq!(admin.keys().collect::<Vec<_>>(), provider.keys().collect::<Vec<_>>());
    // The provider's port has nothing else.
    assert_eq!(http(site.metrics, "GET /commands", &[], b"").unwrap().status, 404);
    assert_eq!(http(site.metrics, "POST /metrics", &[], b"").unwrap().status, 404);
}

#[test]
fn figures_follow_the_traffic() {
    let site = Site::start(Engine::Ours, &[]);
    let before = scrape(site.metrics);
    let mut clients = site.load();
    for i in 0..20 {
        clients[1].create(&format!("/n{i}"), &[7; 100], CreateMode::Persistent).unwrap();
        clients[1].get_data(&format!("/n{i}")).unwrap();
    }
    let after = scrape(site.metrics);
    let grown = |name: &str| {
        let of = |samples: &Samples| samples.get(name).copied().unwrap_or(0.0);
        assert!(after.contains_key(name), "no {name}");
        of(&after) - of(&before)
    };
    for (name, by) in
        [("znode_count", 22.0), ("ephemerals_count", 1.0), ("num_alive_connections", 2.0)]
    {
        assert_eq!(grown(name), by, "{name}");
    }
    for (name, least) in [
        ("packets_received", 179.0),
        ("packets_sent", 179.0),
        ("approximate_data_size", 2000.0),
        ("fsynctime_count", 100.0),
        ("updatelatency_count", 150.0),
        ("readlatency_count", 20.0),
        ("uptime", 1.0),
    ] {
        assert!(grown(name) >= least, "{name}: {}", grown(name));
    }
    assert!(grown("watch_count") >= 1.0);
    for (name, value) in &before {
        let is_total = name.ends_with("_count") && name != "znode_count";
        let is_gauge = ["ephemerals_count", "watch_count"].contains(&name.as_str());
        if is_total && !is_gauge {
            assert!(after[name] >= *value, "{name} went from {value} to {}", after[name]);
        }
    }
}
