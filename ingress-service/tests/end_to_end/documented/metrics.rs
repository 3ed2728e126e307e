//! Metrics: the table of docs/monitoring.md beside what the services export. (That boards and rules name no other is
//! checked by `scripts/check-monitoring`, which reads their expressions.)

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Instant, sleep};

use super::{assert_published, code, documents};
use crate::client;
use crate::harness::{PATIENCE, ingress, proxy};

/// A family of series.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Family {
    help: String,
    kind: String,
    labels: BTreeSet<String>,
}

/// A label that says nothing of one metric: every histogram has it.
const BUCKET: &str = "le";

/// The families of a text in Prometheus' format.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            last = name.to_owned();
            families.entry(last.clone()).or_default().help = help.to_owned();
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(last.clone()).or_default().kind = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels
                .split("=\"")
                .filter_map(|part| part.rsplit(['"', ',', '{']).next());
            let labels = labels.filter(|label| label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            let labels = labels.filter(|label| !label.is_empty() && *label != BUCKET);
            families
                .entry(last.clone())
                .or_default()
                .labels
                .extend(labels.map(str::to_owned));
        }
    }
    families
}

/// What a service exports, once it has a series of this name.
async fn exported(url: &str, last: &str) -> BTreeMap<String, Family> {
    let started = Instant::now();
    loop {
        let text = client::new().get(format!("{url}/metrics")).send().await.unwrap();
        let families = families(&text.text().await.unwrap());
        if families.contains_key(last) {
            return families;
        }
        assert!(started.elapsed() < PATIENCE, "{last} is not exported");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// All that the services export, with who does. Series with labels are there once something was counted: a call, and
/// what an operator did.
async fn of_services() -> BTreeMap<String, (Family, &'static str)> {
    const TOKEN: &str = "correct-horse-battery-staple";
    let broker = "redis://127.0.0.1:1";
    let (ingress, proxy) = (ingress(broker), proxy(broker).with("ADMIN_TOKEN", TOKEN));
    let (ingress, proxy) = tokio::join!(ingress.start(), proxy.start());
    let replay = client::new().post(format!("{}/admin/dead-letters/1-1/replay", proxy.url));
    client::send(replay.bearer_auth(TOKEN)).await.unwrap();
    let of_ingress = exported(&ingress.url, "http_requests_total").await;
    let of_proxy = exported(&proxy.url, "roundtrip_proxy_admin_actions_total").await;
    let mut all: BTreeMap<_, _> = of_ingress
        .into_iter()
        .map(|(name, family)| (name, (family, "ingress")))
        .collect();
    for (name, family) in of_proxy {
        let of = if all.contains_key(&name) { "both" } else { "workers" };
        all.insert(name, (family, of));
    }
    all
}

#[tokio::test]
async fn every_metric_is_documented_and_no_document_names_another() {
    let metrics = of_services().await;
    let mut table = "| metric | kind | labels | of | meaning |\n|---|---|---|---|---|\n".to_owned();
    for (name, (Family { help, kind, labels }, of)) in &metrics {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        table += &format!("| `{name}` | {kind} | {} | {of} | {help} |\n", labels.join(", "));
    }
    assert_published("docs/monitoring.md", "Metrics", &table);
    let of_histogram = |name: &str| {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part));
        family
            .and_then(|family| metrics.get(family))
            .is_some_and(|(family, _)| family.kind == "histogram")
    };
    for (document, text) in documents() {
        let names = code(&text).map(|code| code.split('{').next().unwrap());
        for name in names.filter(|name| looks_like_a_metric(name)) {
            assert!(
                metrics.contains_key(name) || of_histogram(name),
                "{document} names {name}, which is not exported"
            );
        }
    }
}

fn looks_like_a_metric(name: &str) -> bool {
    let prefixes = ["roundtrip_", "redis_", "ingress_", "proxy_", "http_", "process_"];
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && prefixes
            .iter()
            .any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
}
