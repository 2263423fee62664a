//! The fixtures against a gateway that is running already.

use chatkit_rest::config::Sources;
use chatkit_rest::contract::{self, Target, Verdict};
use chatkit_rest::server::Server;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::fixtures;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn token(user: &str) -> String {
    let claims = json!({"sub": user, "exp": 4_102_444_800_u64});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// Gives a gateway of the usual kind, with the built-in server behind it.
async fn gateway() -> (String, tokio::task::JoinHandle<()>) {
    let sources = Sources::new().environment([
        ("CHATKIT_REST__LISTEN", "127.0.0.1:0"),
        ("CHATKIT_REST__UPSTREAM__URL", "embedded"),
        ("CHATKIT_REST__STORE__URL", "memory:"),
        ("CHATKIT_REST__AUTH__SECRET", SECRET),
        ("CHATKIT_REST__LIMITS__REQUESTS_PER_MINUTE", "0"),
        // So that one session left behind would show.
        ("CHATKIT_REST__LIMITS__MAX_SESSIONS", "3"),
    ]);
    let server = Server::bind(sources.load().unwrap().config).await.unwrap();
    let url = format!("http://{}", server.local_addr());
    let serving = tokio::spawn(async move {
        server.serve(std::future::pending()).await.unwrap();
    });
    (url, serving)
}

#[tokio::test]
async fn what_can_be_run_against_a_url_holds_and_leaves_nothing_behind() {
    let (url, serving) = gateway().await;
    let target = Target::base_url(&url).unwrap().with_token(&token("grace"));
    // Twice: what the first run left would be in the second one's way.
    for _ in 0..2 {
        let report = contract::run_dir(fixtures(), &target).await.unwrap();
        assert!(report.is_success(), "{report}");
        assert!(report.passed() >= 30, "{report}");
        assert!(report.skipped() >= 100, "{report}");
    }
    let fresh = contract::Fixture::parse(
        fixtures(),
        "list_sessions/x",
        r#"{"description": "Nothing is left.", "steps": [{
            "request": {"method": "GET", "path": "/sessions"},
            "expect": {"status": 200, "json": {"success": true, "data": [], "meta": {"total": 0, "has_more": false, "after": null}}}
        }]}"#,
    );
    let report = contract::run(&[fresh.unwrap()], &target).await;
    assert!(report.is_success(), "{report}");
    serving.abort();
}

#[tokio::test]
async fn without_a_token_what_needs_one_is_skipped() {
    let (url, serving) = gateway().await;
    let report = contract::run_dir(fixtures(), &Target::base_url(&url).unwrap()).await.unwrap();
    assert!(report.is_success(), "{report}");
    assert!(report.passed() >= 3, "{report}");
    let needs = |outcome: &&contract::Outcome| outcome.verdict == Verdict::Skipped("needs a token");
    assert!(report.outcomes().iter().filter(needs).count() >= 30, "{report}");
    serving.abort();
}

#[tokio::test]
async fn a_gateway_that_is_not_there_fails_every_fixture() {
    // Bound, so that nobody else is given the port, and without a listener.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let report = contract::run_dir(fixtures(), &Target::base_url(&url).unwrap()).await.unwrap();
    assert_eq!(report.passed(), 0);
    assert!(report.failed() >= 3 && report.to_string().contains("answer"), "{report}");
}
