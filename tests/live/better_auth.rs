//! Users of a real identity provider: they sign up with Better Auth, fetch a token there, and show it to the
//! gateway, which is told nothing but where the provider's keys are.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::json;

use crate::support::{Caller, Client, Gateway, Upstream, install, project};

/// Better Auth as it answers. Dropping it ends it.
struct Provider {
    client: Client,
    url: String,
    child: Child,
    /// Its end is the program's.
    stdin: Option<ChildStdin>,
}

/// Who has signed up, by the cookie of the provider.
struct Person {
    client: Client,
    id: String,
}

impl Provider {
    fn start() -> Self {
        let mut child = Command::new(install("better-auth"))
            .arg("server.mjs")
            .current_dir(project().join("tests/live/better_auth"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("it did not start: {line:?}"));
        let client = Client::new(address.parse().unwrap());
        Self { client, url: format!("http://{address}"), child, stdin }
    }

    /// Starts a gateway that takes its users.
    fn gateway(&self) -> Gateway {
        let keys = format!("{}/api/auth/jwks", self.url);
        Gateway::start_with(
            Upstream::shared(),
            &[
                ("AUTH__SECRET", ""),
                ("AUTH__JWKS_URL", &keys),
                ("AUTH__ISSUER", &self.url),
                ("AUTH__AUDIENCE", &self.url),
            ],
        )
    }

    fn sign_up(&self, name: &str) -> Person {
        let body = json!({
            "name": name,
            "email": format!("{name}@example.com"),
            "password": "long enough for a test",
        });
        let reply = self.client.json("POST", "/api/auth/sign-up/email", &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let id = reply.value()["user"]["id"].as_str().unwrap().to_owned();
        Person { client: self.client.clone().with("cookie", &cookie), id }
    }

    /// Does something to its keys: `rotate` or `replace`.
    fn change(&self, how: &str) {
        assert_eq!(self.client.call("POST", &format!("/_test/{how}")).status, 204);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _status = self.child.wait();
    }
}

impl Person {
    /// Fetches a token.
    fn token(&self) -> String {
        let reply = self.client.call("GET", "/api/auth/token");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.value()["token"].as_str().unwrap().to_owned()
    }
}

fn caller(gateway: &Gateway, token: &str) -> Caller {
    Caller::new(gateway.stranger().with("authorization", &format!("Bearer {token}")))
}

#[test]
fn its_users_chat_and_are_kept_apart() {
    let provider = Provider::start();
    let gateway = provider.gateway();
    let (ada, bob) = (provider.sign_up("ada"), provider.sign_up("bob"));
    let (with_ada, with_bob) = (caller(&gateway, &ada.token()), caller(&gateway, &bob.token()));

    let conversation = with_ada.conversation();
    with_ada.said(&conversation, "Hello there");
    let upstream = Upstream::shared();
    assert!(
        upstream.count_all(&ada.id) > 0,
        "the ChatKit server is told who the provider says it is"
    );
    assert_eq!(upstream.count_all(&bob.id), 0);
    let session = format!("/sessions/{}", conversation.session);
    assert_eq!(with_ada.get(&session).data()["user_id"], *ada.id);
    with_bob.get(&session).refusal(403, "FORBIDDEN");
    assert_eq!(with_bob.get("/sessions").value()["data"], json!([]));
    // By another token of hers it is hers all the same.
    assert_eq!(caller(&gateway, &ada.token()).get(&session).data()["id"], *conversation.session);

    // The cookie's text is no token, and neither is what somebody else's provider signs.
    let cookie = "OgRvc8cHpfTz2TwVJUCjwA0Oy6RaW5PT";
    caller(&gateway, cookie).get("/sessions").refusal(401, "UNAUTHORIZED");
    let other = Provider::start().sign_up("ada").token();
    caller(&gateway, &other).get("/sessions").refusal(401, "UNAUTHORIZED");
    gateway.stranger().call("GET", "/api/v1/chatkit/sessions").refusal(401, "UNAUTHORIZED");
}

/// Gives a gateway's answer to each of the tokens, as who asks for a session of hers.
fn answers(gateway: &Gateway, session: &str, tokens: [&str; 2]) -> [u16; 2] {
    tokens.map(|token| caller(gateway, token).get(&format!("/sessions/{session}")).status)
}

#[test]
fn its_keys_change_while_the_gateway_runs() {
    for (how, of_the_old_key) in [("rotate", 200), ("replace", 401)] {
        let provider = Provider::start();
        let gateway = provider.gateway();
        let ada = provider.sign_up("ada");
        let old = ada.token();
        let session = caller(&gateway, &old).conversation().session;
        assert_eq!(answers(&gateway, &session, [&old, &old]), [200, 200]);

        provider.change(how);
        let new = ada.token();
        let header = |token: &str| token.split('.').next().unwrap().to_owned();
        assert_ne!(header(&new), header(&old), "{how}: it is signed with another key");
        let answers = answers(&gateway, &session, [&new, &old]);
        assert_eq!(answers, [200, of_the_old_key], "{how}: whether the old key is published still");
    }
}
