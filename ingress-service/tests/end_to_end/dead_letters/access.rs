//! Who is let in.

use super::*;

#[tokio::test]
async fn without_a_token_in_the_configuration_there_is_no_admin_api() {
    let proxy = proxy("redis://127.0.0.1:1").start().await;
    for path in ["", "/", "/dead-letters", "/dead-letters/1-0", "/anything"] {
        let request = client::new().get(format!("{}/admin{path}", proxy.url));
        let answer = client::send(request.bearer_auth(TOKEN)).await.unwrap();
        answer.assert_problem(404, "/problems/route-not-found");
        let unknown = client::get(&format!("{}/nowhere", proxy.url)).await;
        assert_eq!(answer.body["detail"], unknown.body["detail"]);
    }
}

#[tokio::test]
async fn an_ingress_with_its_workers_inside_has_the_admin_api_and_others_have_not() {
    let alone = embedded().with("ADMIN_TOKEN", TOKEN).start().await;
    let letters = client::new().get(format!("{}/admin/dead-letters", alone.url));
    let answer = client::send(letters.bearer_auth(TOKEN)).await.unwrap();
    assert_eq!(
        (answer.status, &answer.body["items"]),
        (200, &serde_json::json!([])),
        "{answer:?}"
    );
    let apart = ingress("redis://127.0.0.1:1").with("ADMIN_TOKEN", TOKEN).start().await;
    let letters = client::new().get(format!("{}/admin/dead-letters", apart.url));
    let answer = client::send(letters.bearer_auth(TOKEN)).await.unwrap();
    answer.assert_problem(404, "/problems/route-not-found");
}

#[tokio::test]
async fn whoever_does_not_send_the_token_changes_nothing_and_learns_nothing() {
    let stage = stage().await;
    stage.give_up(&CorrelationId::new().to_string(), "nobody", "Oslo").await;
    let id = stage.newest().await;
    let wrong = Some("correct-horse-battery-stable");
    for (token, challenge) in [(None, "Bearer"), (wrong, r#"Bearer error="invalid_token""#)] {
        for (method, path) in [
            (Method::GET, String::new()),
            (Method::GET, format!("/{id}")),
            (Method::DELETE, format!("/{id}")),
            (Method::POST, format!("/{id}/replay")),
            (Method::GET, "/no/such/route".to_owned()),
        ] {
            let url = format!("{}/admin/dead-letters{path}", stage.proxy.url);
            let mut request = stage.client.request(method, url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = client::send(request).await.unwrap();
            answer.assert_problem(401, "/problems/unauthorized");
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
    assert_eq!(stage.kept().await, 1);
}
