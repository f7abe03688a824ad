//! Requests to the outside go where the operator allows it and nowhere else, whatever names, addresses and redirects a
//! guest makes use of; and they carry a key that stays the same in each attempt.

use dbos_host_tests::{Answer, Host, HostBuilder, Outside, Request, TestPostgres};
use serde_json::json;

const NOT_LISTED: &str = "the host does not allow it";
const NOT_PUBLIC: &str = "the host does not connect to where this name leads";

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
    assert_eq!(outside.received().len(), 1);
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

/// A host whose guest asks whatever it is told to. `names` are made up: `<name>=<address>`.
async fn roaming(allowed: &[&str], private: &[&str], names: &str) -> Host {
    let database = TestPostgres::shared().fresh_database().await;
    let builder = HostBuilder::new("roams").database(&database).environment("DBOS_HOST_TEST_RESOLVE", names);
    let builder = allowed.iter().fold(builder, |builder, origin| builder.allow(origin));
    let builder = private.iter().fold(builder, |builder, network| builder.private(network));
    builder.start().await
}

/// What the guest was told for each URL.
async fn answers(host: &Host, urls: &[String], header: &str) -> Vec<String> {
    let request = Request::post(host.url("/workflows/asks"), &json!({ "urls": urls, "header": header }));
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json().as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_though_every_name_is_allowed() {
    let outside = Outside::start().await;
    let port = outside.address().port();
    let names = "loopback.example=127.0.0.1;six.example=::1;mapped.example=::ffff:127.0.0.1;nat.example=64:ff9b::7f00:1;\
                 metadata.example=169.254.169.254;cloud.example=fd00:ec2::254;private.example=10.0.0.1,192.168.0.1";
    // To list a name grants no more than the star does.
    let host = roaming(&["*", &format!("http://loopback.example:{port}")], &[], names).await;
    let urls: Vec<String> = ["loopback", "six", "mapped", "nat", "metadata", "cloud", "private"]
        .map(|name| format!("http://{name}.example:{port}/"))
        .into();
    for (url, answer) in urls.iter().zip(answers(&host, &urls, "").await) {
        assert!(answer.starts_with(&format!("error: GET {url}: {NOT_PUBLIC}")), "{answer}");
        // Where it leads is for the operator to know.
        assert!(!answer.contains("169.254") && !answer.contains("10.0.0.1"), "{answer}");
    }
    host.wait_for_log("`metadata.example` is at 169.254.169.254, which is link-local").await;
    host.wait_for_log("`cloud.example` is at fd00:ec2::254, which is private").await;
    assert!(outside.received().is_empty());
}

#[tokio::test]
async fn an_address_is_an_address_however_it_is_written() {
    let outside = Outside::start().await;
    let port = outside.address().port();
    let urls: Vec<String> =
        ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::1]"]
            .map(|host| format!("http://{host}:{port}/"))
            .into();
    let host = roaming(&["*"], &[], "").await;
    for answer in answers(&host, &urls, "").await {
        assert!(answer.contains(NOT_PUBLIC), "{answer}");
    }
    assert!(outside.received().is_empty());

    let listed = roaming(&[&outside.url()], &[], "").await;
    let told = answers(&listed, &urls, "").await;
    let (same, other) = told.split_at(6);
    assert_eq!(same, ["{}"; 6], "the first six are what is listed, in other words");
    assert!(other.iter().all(|answer| answer.contains(NOT_LISTED)), "{other:?}");
}

#[tokio::test]
async fn this_machine_is_reached_by_name_where_it_is_listed() {
    let outside = Outside::start().await;
    let port = outside.address().port();
    let here = format!("http://localhost:{port}");
    let urls = [format!("{here}/"), format!("http://LocalHost:{port}/")];
    assert_eq!(answers(&roaming(&[&here], &[], "").await, &urls, "").await, ["{}"; 2]);
    for (allowed, names) in [("*", ""), (&here, "localhost=10.0.0.1")] {
        let told = answers(&roaming(&[allowed], &[], names).await, &urls, "").await;
        assert!(told.iter().all(|answer| answer.contains(NOT_PUBLIC)), "{allowed} {names}: {told:?}");
    }
    assert_eq!(outside.received().len(), 2);
}

#[tokio::test]
async fn a_network_that_is_granted_is_reached_by_name() {
    let outside = Outside::start().await;
    let port = outside.address().port();
    // Of several addresses those that may be connected to are tried.
    let names = "inside.example=169.254.169.254,127.0.0.1;other.example=127.0.0.2";
    let host = roaming(&[&format!("http://*.example:{port}")], &["127.0.0.1", "10.0.0.0/8"], names).await;
    let urls = [format!("http://inside.example:{port}/x"), format!("http://other.example:{port}/")];
    let told = answers(&host, &urls, "").await;
    assert_eq!(told[0], "{}");
    assert!(told[1].contains(NOT_PUBLIC), "{told:?}");
    assert_eq!(outside.received()[0].header("host"), Some(format!("inside.example:{port}").as_str()));
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused_when_it_does() {
    let public = Outside::at(([127, 0, 0, 2], 0).into(), |_, _| Answer::Reply(200, "public".into())).await;
    let port = public.address().port();
    let inside = Outside::at(([127, 0, 0, 1], port).into(), |_, _| Answer::Reply(200, "inside".into())).await;
    let names = "rebinds.example=127.0.0.2;rebinds.example=127.0.0.1";
    let host = roaming(&[&format!("http://rebinds.example:{port}")], &["127.0.0.2"], names).await;
    let urls = [format!("http://rebinds.example:{port}/first"), format!("http://rebinds.example:{port}/second")];
    let told = answers(&host, &urls, "").await;
    assert_eq!(told[0], "public");
    assert!(told[1].contains(NOT_PUBLIC), "{told:?}");
    assert!(inside.received().is_empty());
}

#[tokio::test]
async fn each_hop_of_a_redirect_is_checked_like_the_first() {
    let inside = Outside::start().await;
    let (listed, port) = (inside.url(), inside.address().port());
    let outside = Outside::answering(move |request, _| match request.path.as_str() {
        "/to-listed" => Answer::Redirect(format!("{listed}/listed")),
        "/to-another-port" => Answer::Redirect("http://127.0.0.1:1/".into()),
        "/to-metadata" => Answer::Redirect("http://169.254.169.254/latest/meta-data/".into()),
        "/to-a-name" => Answer::Redirect(format!("http://inside.example:{port}/")),
        "/in-a-circle" => Answer::Redirect("/in-a-circle".into()),
        path => Answer::Reply(200, path.into()),
    })
    .await;
    let url = outside.url();
    let allowed = [url.clone(), inside.url(), format!("http://inside.example:{port}")];
    let host = roaming(&allowed.each_ref().map(String::as_str), &[], "inside.example=127.0.0.1").await;
    let paths = ["/to-listed", "/to-another-port", "/to-metadata", "/to-a-name", "/in-a-circle"];
    let told = answers(&host, &paths.map(|path| format!("{url}{path}")), "").await;
    assert_eq!(told[0], "{}");
    assert!(told[1].starts_with(&format!("error: GET http://127.0.0.1:1/: {NOT_LISTED}")), "{told:?}");
    assert!(told[2].contains(NOT_LISTED) && told[3].contains(NOT_PUBLIC), "{told:?}");
    assert!(told[4].contains("redirects again after 5 redirects"), "{told:?}");
    assert_eq!(inside.received().len(), 1);
}

#[tokio::test]
async fn a_request_cannot_be_made_to_mean_another_host() {
    let outside = Outside::start().await;
    let (url, authority) = (outside.url(), outside.address().to_string());
    let host = roaming(&[&url, "http://127.0.0.1:1"], &[], "evil.example=93.184.216.34").await;
    for header in ["host", "connection", "transfer-encoding", "upgrade", "proxy-connection", "keep-alive"] {
        let told = answers(&host, &[format!("{url}/")], header).await;
        assert!(told[0].ends_with(&format!("the host does not accept the header `{header}`")), "{told:?}");
    }
    assert!(outside.received().is_empty());

    // Where the parts of a URL are put together, one part may reach into another.
    let requests = [
        (authority.clone(), "/plain"),
        (format!("user:password@{authority}"), "/with-a-user"),
        (format!("{authority}@evil.example"), "/"),
        (authority.clone(), "@evil.example/"),
        (authority.clone(), ".evil.example/"),
        (authority.clone(), "\\@evil.example/"),
        (format!("{authority}#"), "/"),
        (format!("evil.example#@{authority}"), "/"),
        ("127.0.0.1:1".to_owned(), "/?secret"),
    ];
    let reply = host.run_workflow("asks_raw", "raw", &json!({ "requests": requests })).await.unwrap();
    let told: Vec<String> = serde_json::from_value(reply.json()).unwrap();
    assert_eq!(told[..2], ["200", "200"], "{told:?}");
    let refused = ["not taken", "ErrorCode::HttpRequestDenied", "ErrorCode::HttpRequestUriInvalid"];
    assert!(told[2..8].iter().all(|answer| refused.contains(&answer.as_str())), "{told:?}");
    // Why there was no answer is told without the URL, which may hold secrets and will be recorded.
    assert!(told[8].contains("InternalError") && !told[8].contains("secret"), "{told:?}");
    let received = outside.received();
    assert!(received.iter().all(|request| request.header("host") == Some(&authority)), "{received:?}");
    assert_eq!(received.len(), 2);
}
