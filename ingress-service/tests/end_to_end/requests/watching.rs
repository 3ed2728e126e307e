//! Those who watch what happens to a request, as it happens.

use super::*;

/// The names and ids of the events of a request, to their end.
pub(super) async fn events(client: &Client, url: &str, last: Option<&str>) -> Vec<(String, String)> {
    let request = client.get(url);
    let request = match last {
        Some(last) => request.header("Last-Event-ID", last),
        None => request,
    };
    let stream = request.send().await.unwrap().text().await.unwrap();
    let events = stream.split("\n\n").filter(|event| event.contains("event: "));
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    events
        .map(|event| (field(event, "event: "), field(event, "id: ")))
        .collect()
}

#[tokio::test]
async fn whoever_watches_sees_every_step_and_may_come_back() {
    let upstream = Upstream::start().await;
    let stage = stage_behind(&upstream, "64").await;
    let location = stage.ask_async(&stage.one).await;
    let url = format!("{}{location}/events", stage.other.url);
    let opening = async {
        // It is being watched before it ends, and gets half of the way first.
        until("somebody watches", async || {
            metric(&stage.other.url, "roundtrip_ingress_event_streams").await == 1.0
        })
        .await;
        upstream.half_open();
        until("its progress is noted", async || {
            !stage.get(&stage.one, &location, "").await.body["progress"].is_null()
        })
        .await;
        upstream.open();
    };
    let (seen, ()) = tokio::join!(events(&stage.client, &url, None), opening);
    let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"queued"), "{names:?}");
    assert_eq!(names.last(), Some(&"succeeded"), "{names:?}");
    assert!(
        names.contains(&"processing") && names.contains(&"progress"),
        "{names:?}"
    );
    let ids: Vec<u64> = seen.iter().map(|(_, id)| id.parse().unwrap()).collect();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
    // From another instance, after the second event.
    let url = format!("{}{location}/events", stage.one.url);
    let rest = events(&stage.client, &url, Some(&seen[1].1)).await;
    assert!(rest.len() < seen.len() && rest.last() == seen.last(), "{rest:?}");
    let all_heard = stage.client.get(&url).header("Last-Event-ID", &seen.last().unwrap().1);
    assert_eq!(all_heard.send().await.unwrap().status(), 204);
    assert_eq!(metric(&stage.one.url, "roundtrip_ingress_event_streams").await, 0.0);
}
