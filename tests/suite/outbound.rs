//! Requests to the outside go where the operator allows it, and carry a key that stays the same in each attempt.

use dbos_host_tests::{Answer, HostBuilder, Outside, TestPostgres};
use serde_json::json;

/// Lets a communicator ask the outside once, or four times, with this list of allowed origins; returns what it was
/// told.
async fn ask(outside: &Outside, how: &str, allowed: &[&str]) -> String {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("retries").database(&database).guest_env("OUTSIDE_URL", &outside.url());
    let builder = allowed.iter().fold(builder, |builder, origin| builder.allow(origin));
    let host = builder.jumping_clock().start().await;
    let reply = host.run_workflow("asks", "order-7", &json!({ "how": how })).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json().as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_request_to_an_origin_that_is_not_allowed_is_refused_and_not_sent() {
    let outside = Outside::start().await;
    let url = outside.url();
    let other_port = "http://127.0.0.1:1";
    let other_scheme = url.replace("http://", "https://");
    let refused = "the host does not allow it\n\
                   hint: requests are sent from communicators only, to where `outbound.allow` in dbos-config.yaml \
                   permits";
    for allowed in [&[][..], &[other_port], &[other_scheme.as_str()], &["http://localhost"]] {
        assert_eq!(ask(&outside, "once", allowed).await, format!("error: GET {url}/once: {refused}"));
        // The attempts are left, but no other would come to anything else.
        assert_eq!(ask(&outside, "four", allowed).await, format!("error: GET {url}/four: {refused}"));
    }
    assert!(outside.received().is_empty());
    assert_eq!(ask(&outside, "once", &[other_port, &url]).await, "{}");
    assert_eq!(ask(&outside, "once", &["*"]).await, "{}");
    assert_eq!(outside.received().len(), 2);
}

#[tokio::test]
async fn each_attempt_offers_the_same_key_for_the_same_request() {
    let outside = Outside::answering(|_, earlier| match earlier.len() {
        0..3 => Answer::Drop,
        _ => Answer::Reply(200, "fine".into()),
    })
    .await;
    assert_eq!(ask(&outside, "four", &[&outside.url()]).await, "fine");
    let keys: Vec<Option<String>> =
        outside.received().iter().map(|request| request.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys, vec![Some("order-7-1-1".to_owned()); 4]);
}
