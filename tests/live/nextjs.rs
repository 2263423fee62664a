//! The manual's route handler for Next.js, run as it is written: in front of the gateway, which is
//! in front of the real server in Python. A program in Node.js plays the part of Next.js.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::support::{Client, End, Gateway, Reply, Upstream, events, install, last_item, project};

const HANDLER: &str = "app/api/chatkit/[[...path]]/route.ts";
const PREFIX: &str = "/api/chatkit";

/// Gives the program of the manual that is marked `nextjs`.
fn snippet() -> &'static str {
    const CHAPTER: &str = include_str!("../../src/manual/deployment.md");
    let (_, rest) = CHAPTER.split_once("<!-- nextjs -->\n").unwrap();
    let (block, _) = rest.split_once("<!-- /nextjs -->").unwrap();
    block.trim().strip_prefix("```ts\n").unwrap().strip_suffix("```").unwrap()
}

/// An application with the handler where its first line says, and a login. Dropping it removes it.
struct Application {
    node: PathBuf,
    folder: PathBuf,
}

impl Application {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let node = install("openai-node");
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("nextjs-{}-{n}", std::process::id()));
        let ours = project().join("tests/live/nextjs");
        let handler = folder.join(HANDLER);
        for path in [&handler, &folder.join("lib/session.ts")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        for name in ["lib/session.ts", "serve.ts", "tsconfig.json"] {
            fs::copy(ours.join(name), folder.join(name)).unwrap();
        }
        symlink(
            project().join("examples/openai_clients/node_modules"),
            folder.join("node_modules"),
        )
        .unwrap();
        assert!(snippet().starts_with(&format!("// {HANDLER}\n")));
        fs::write(handler, snippet()).unwrap();
        Self { node, folder }
    }

    fn node(&self, program: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(program).current_dir(&self.folder);
        command
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// The application, as it answers. Dropping it ends it.
struct Site {
    client: Client,
    child: Child,
    /// Its end is the program's.
    stdin: Option<ChildStdin>,
    _application: Application,
}

impl Site {
    fn start(gateway: &Gateway, secret: &str) -> Self {
        let application = Application::new();
        let mut child = application
            .node("node_modules/tsx/dist/cli.mjs")
            .arg("serve.ts")
            .env("CHATKIT_GATEWAY_URL", format!("{}/api/v1/chatkit", gateway.url()))
            .env("CHATKIT_GATEWAY_SECRET", secret)
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
        Self { client, child, stdin, _application: application }
    }

    /// Gives what the browser of `user` sends with.
    fn browser(&self, user: &str) -> Client {
        self.client.clone().with("cookie", &format!("theme=dark; user={user}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _status = self.child.wait();
    }
}

fn call(client: &Client, method: &str, path: &str) -> Reply {
    client.call(method, &format!("{PREFIX}{path}"))
}

fn post(client: &Client, path: &str, body: &serde_json::Value) -> Reply {
    client.json("POST", &format!("{PREFIX}{path}"), body)
}

/// Makes a session, and gives the path of its thread's runs.
#[track_caller]
fn runs(client: &Client) -> String {
    let session = call(client, "POST", "/sessions").data();
    let session = session["id"].as_str().unwrap();
    format!("/sessions/{session}/threads/{session}/runs")
}

#[test]
fn the_handler_compiles() {
    let ran = Application::new().node("node_modules/typescript/bin/tsc").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[test]
fn what_a_page_asks_is_asked_as_its_user_and_answered_as_the_server_answers() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let site = Site::start(&gateway, Gateway::SECRET);
    let user = "nextjs-ada";
    // What a page says of itself counts for nothing.
    let ada = site.browser(user).with("authorization", "Bearer x").with("x-user-id", "nextjs-bob");
    let runs = runs(&ada);
    let reply = post(&ada, &runs, &json!({ "message": "Hello there" }));
    assert_eq!((reply.status, reply.end), (200, End::Clean), "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(reply.header("cache-control").unwrap().contains("no-transform"));
    let (sent, end) = upstream.ended_stream(user);
    assert_eq!((end.as_str(), sent == reply.body), ("clean", true), "{}", reply.text());
    assert_eq!(last_item(&events(&reply.body))["content"][0]["text"], "Hello there");

    let threads = post(&ada, "", &json!({ "type": "threads.list", "params": {} })).value();
    assert_eq!(threads["data"].as_array().unwrap().len(), 1, "{threads}");
    let page = call(&ada, "GET", "/sessions?limit=1").value();
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
    let session = runs.split('/').nth(2).unwrap();
    let renamed = format!("{PREFIX}/sessions/{session}");
    assert_eq!(ada.json("PATCH", &renamed, &json!({ "title": "Tea" })).data()["title"], "Tea");
    call(&site.browser("nextjs-bob"), "GET", &format!("/sessions/{session}"))
        .refusal(403, "FORBIDDEN");
    call(&ada, "DELETE", &format!("/sessions/{session}")).data();
    call(&ada, "GET", &format!("/sessions/{session}")).refusal(404, "SESSION_NOT_FOUND");
}

#[test]
fn a_run_is_passed_on_word_by_word_and_its_end_both_ways() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let site = Site::start(&gateway, Gateway::SECRET);
    let user = "nextjs-words";
    let ada = site.browser(user).with("content-type", "application/json");
    let path = format!("{PREFIX}{}", runs(&ada));
    let say = |text: &str| {
        let body = json!({ "message": text }).to_string();
        ada.send("POST", &path, Some(body.as_bytes()))
    };
    let mut exchange = say("/stall 1");
    exchange.until("word0");
    assert_eq!(upstream.last_stream(user).1, "open");
    drop(exchange);
    assert_eq!(upstream.ended_stream(user).1, "cancelled", "who leaves ends the run");

    let reply = say("/cut-after 2").finish();
    assert_eq!((reply.status, reply.end), (200, End::Cut), "{}", reply.text());
    say("/error").finish().refusal(502, "UPSTREAM_ERROR");
}

#[test]
fn who_has_not_logged_in_or_comes_from_another_site_asks_nothing() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let site = Site::start(&gateway, Gateway::SECRET);
    assert_eq!(call(&site.client, "POST", "/sessions").status, 401);
    let user = "nextjs-sites";
    let ada = site.browser(user);
    for (from, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200)] {
        let reply = call(&ada.clone().with("sec-fetch-site", from), "POST", "/sessions");
        assert_eq!(reply.status, status, "{from}");
    }
    // Much more than the gateway takes: it answers and hangs up while Node.js still sends.
    let body = json!({ "message": "x".repeat(4_000_000) });
    assert_eq!(post(&ada, &runs(&ada), &body).status, 413);
    assert_eq!(upstream.count_all(user), 0);

    let stranger = Site::start(&gateway, "a secret that is another than the gateway's");
    let body = json!({ "type": "threads.list", "params": {} });
    post(&stranger.browser(user), "", &body).refusal(401, "UNAUTHORIZED");
}
