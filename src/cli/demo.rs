//! `chatkit-rest demo`.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use chatkit_rest::config::{ApiKey, AuthConfig, Loaded, Sources};
use chatkit_rest::error::Error;
use chatkit_rest::principal::UserId;
use clap::Args;
use jiff::Timestamp;

use super::logging::LogLines;
use super::model::{self, ModelFlags};
use super::{CommandFailure, output, serve, token};

/// Try the gateway out: no server and no settings needed
///
/// Runs a gateway with the ChatKit server that is built in, a secret made for this run, and its data
/// in a temporary SQLite file that is removed at the end. Prints tokens for two users, and curl
/// lines that work when they are pasted into another terminal. Reads no file and, without --openai,
/// no environment variable, and listens on loopback addresses only.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest demo

On a free port:
  chatkit-rest demo --listen 127.0.0.1:0

With a model on this machine, or elsewhere with its key in OPENAI_API_KEY:
  chatkit-rest demo --openai --base-url http://127.0.0.1:11434/v1 --model llama3.2
  chatkit-rest demo --openai --base-url https://api.openai.com/v1 --model NAME")]
pub(super) struct Demo {
    /// Loopback address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,

    #[command(flatten)]
    model: ModelFlags,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let directory = TempDirectory::new()
            .map_err(|error| Error::io("could not make a temporary directory", error))?;
        let (key, entry) = token::service_key("demo")?;
        let sources = self.model.add_to(Sources::new(), |name| std::env::var(name).ok())?;
        let loaded = configuration(sources, self.listen, &directory, &entry)?;
        let listen = loaded.config.listen;
        if !listen.ip().is_loopback() {
            let text = format!(
                "--listen {listen}: the demo listens on loopback addresses only, such as 127.0.0.1:8080"
            );
            return Err(CommandFailure::Usage(text));
        }
        let model = model::described(&loaded.config)?;
        let AuthConfig::Jwt(jwt) = &loaded.config.auth else {
            return Err(Error::config("the demo verifies tokens").into());
        };
        let mut tokens = Vec::new();
        for name in ["ada", "bob"] {
            let user = UserId::parse(name)
                .map_err(|error| CommandFailure::Usage(format!("{name}: {error}")))?;
            tokens.push(token::mint(jwt, &user, LIFE, Vec::new(), Timestamp::now())?);
        }
        let prefix = loaded.config.rest.prefix.to_string();
        let openai = loaded.config.openai.path.to_string();
        serve::run(loaded.config, &loaded.notes, LogLines::Short, |address| {
            let hosted = (&*openai, &*key);
            Ok(output::print(&walkthrough(address, &prefix, &tokens, model.as_deref(), hosted))?)
        })
    }
}

/// How long the demo's tokens are valid.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Somebody who tries things out asks faster, and leaves more behind, than the users for whom the
/// defaults are: the tour alone is some sixty requests, and may be taken again.
const REQUESTS_PER_MINUTE: u32 = 1000;
const MAX_SESSIONS: u32 = 1000;

fn configuration(
    sources: Sources,
    listen: String,
    directory: &TempDirectory,
    key: &ApiKey,
) -> Result<Loaded, CommandFailure> {
    let file = directory.0.join("chatkit-rest.db");
    let file = file.to_str().ok_or_else(|| {
        CommandFailure::Usage("the temporary directory's name is not UTF-8".into())
    })?;
    let loaded = sources
        .flag("--listen", "listen", listen)
        .set("demo", "upstream.url", "embedded")
        .set("demo", "auth.secret", secret()?)
        .set("demo", "openai.api_keys", token::setting(key))
        .set("demo", "store.url", format!("sqlite:{file}"))
        .set("demo", "limits.requests_per_minute", REQUESTS_PER_MINUTE.to_string())
        .set("demo", "limits.max_sessions", MAX_SESSIONS.to_string())
        .load()?;
    Ok(loaded)
}

/// Makes 256 random bits, in hexadecimal.
fn secret() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::io("no random numbers", io::Error::other(error)))?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a `String` does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// Gives what the demo prints: shell lines that can be pasted as they are, all at once or one by
/// one. `model` answers, or an echo.
///
/// What is said in between is a line of the shell, too: interactive zsh takes `#` for a command,
/// and interactive shells replace what follows a `!`, unless it is in single quotes.
fn walkthrough(
    address: SocketAddr,
    prefix: &str,
    tokens: &[String],
    model: Option<&str>,
    (openai, key): (&str, &str),
) -> String {
    let [ada, bob] = tokens else { return String::new() };
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let (who, failure) = match model {
        Some(model) => (format!("The model {} answers.", unquoted(model)), ""),
        None => (
            "An echo answers. How to have a model do it: chatkit-rest demo --help".into(),
            ECHO_FAILS,
        ),
    };
    // `id` is the only `"id"` of the two answers of which `made` gives it; `user_id` and
    // `session_id` have no quote before theirs.
    let mut lines = format!(
        r#"
: 'The demo listens on http://{address}. Its data are gone when it ends (control-C).'
: '{who}'
: 'In a browser http://{address}/docs#token={ada} is the API, to read and to try as ada.'
: 'Paste these lines into another terminal.'

echo 'Who you are: ada. And somebody else: bob.'
TOKEN={ada}
BOB={bob}
BASE=http://{address}{prefix}

echo 'A service that acts for users, by the API of hosted ChatKit.'
KEY={key}
HOSTED=http://{address}{openai}

echo 'A session, and its thread.'
made() {{
  answer=$(curl -sS -w " (status %{{http_code}})" -X POST "$1" -H "authorization: Bearer $TOKEN")
  made=$(printf "%s\n" "$answer" | sed -n 's/.*"data": *{{"id": *"\([^"]*\)".*/\1/p')
  if [ -n "$made" ]; then echo "$made"; else printf "%s\n" "Nothing was made: $answer" >&2; return 1; fi
}}
SESSION=$(made "$BASE/sessions")
THREAD=$(made "$BASE/sessions/$SESSION/threads")

echo 'A run: the answer streams in as server-sent events. The last line is the status.'
curl -sS -N -w "%{{http_code}}\n" "$BASE/sessions/$SESSION/threads/$THREAD/runs" -H "authorization: Bearer $TOKEN" -H "content-type: application/json" -d '{{"message":{{"role":"user","content":[{{"type":"input_text","text":"Hello there"}}]}}}}'

echo 'The same as JSON, in the short form.'
curl -sS -w " %{{http_code}}\n" "$BASE/sessions/$SESSION/threads/$THREAD/runs" -H "authorization: Bearer $TOKEN" -H "content-type: application/json" -d '{{"message":"And again","stream":false}}'

echo 'The conversation, and the list of sessions.'
curl -sS -w " %{{http_code}}\n" "$BASE/sessions/$SESSION" -H "authorization: Bearer $TOKEN"
curl -sS -w " %{{http_code}}\n" "$BASE/sessions" -H "authorization: Bearer $TOKEN"

echo 'What the service sees: the threads of every user, here as the official openai clients ask for them.'
curl -sS -w " %{{http_code}}\n" "$HOSTED/threads" -H "authorization: Bearer $KEY"

echo 'The session belongs to ada, so bob gets 403.'
curl -sSi -w "\n" "$BASE/sessions/$SESSION" -H "authorization: Bearer $BOB"

echo 'A body with a mistake: 400, and where it is.'
curl -sSi -w "\n" "$BASE/sessions/$SESSION/threads/$THREAD/runs" -H "authorization: Bearer $TOKEN" -H "content-type: application/json" -d '{{"mesage":"Hello"}}'
"#
    );
    lines.push_str(failure);
    lines.push_str("\n: 'Up to here.'\n\n");
    lines
}

/// What only the echo does when it is told to.
const ECHO_FAILS: &str = r#"
echo 'The chat server fails before it has said anything: 502 and not a broken 200.'
curl -sSi -w "\n" "$BASE/sessions/$SESSION/threads/$THREAD/runs" -H "authorization: Bearer $TOKEN" -H "content-type: application/json" -d '{"message":"/error"}'

echo 'More words that make it do something: /slow 300 one two three, /tool lookup, /widget, /cut-after 2'
"#;

/// Gives a text that stays on its line and within single quotes.
fn unquoted(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\'' => '’',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// Gives an address that can be connected to, for one that is only good to listen on.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// A directory that only this user can look into, removed on drop.
#[derive(Debug)]
struct TempDirectory(PathBuf);

impl TempDirectory {
    fn new() -> io::Result<Self> {
        // Unguessable, so that nobody else has made it; and `create` fails if somebody did.
        let path = std::env::temp_dir().join(format!("chatkit-rest-demo-{}", uuid::Uuid::new_v4()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "could not remove the demo's data");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn text() -> String {
        let tokens = ["ada.token".to_owned(), "bob.token".to_owned()];
        let hosted = ("/v1/chatkit", "sk-key");
        walkthrough("127.0.0.1:8123".parse().unwrap(), "/api/v1/chatkit", &tokens, None, hosted)
    }

    #[test]
    fn it_says_who_answers_and_asks_a_model_for_no_echo() {
        assert!(text().contains(": 'An echo answers"));
        let tokens = ["ada.token".to_owned(), "bob.token".to_owned()];
        let model = Some("m\nat 'http://[::1]:1/v1'");
        let address = "127.0.0.1:1".parse().unwrap();
        let text = walkthrough(address, "/x", &tokens, model, ("/y", "k"));
        assert!(text.contains(": 'The model m at ’http://[::1]:1/v1’ answers.'\n"), "{text}");
        assert!(!text.contains("/error") && !text.contains("/slow"), "{text}");
    }

    #[test]
    fn its_link_to_the_page_has_adas_token_where_it_is_not_sent() {
        assert!(text().contains(" http://127.0.0.1:8123/docs#token=ada.token "), "{}", text());
    }

    /// Runs the lines in a shell whose `curl` prints its arguments to standard error, one call a
    /// line, and answers as the gateway does.
    #[test]
    #[cfg(unix)]
    fn the_lines_work_when_pasted() {
        let curl = r#"curl() {
            printf "%s\n" "$*" >&2
            case "$*" in
                *"/sessions "*"-X POST"* | *"-X POST"*"/sessions "*)
                    echo '{"success":true,"data":{"id":"s-1","user_id":"ada","created_at":"x"}}' ;;
                *"/threads "*)
                    echo '{"success": true, "data": {"id": "t-1", "session_id": "s-1"}}' ;;
            esac
        }"#;
        let script = format!("{curl}\n{}", text());
        let ran = Command::new("sh").args(["-euc", &script]).output().unwrap();
        assert!(ran.status.success());
        let calls = String::from_utf8(ran.stderr).unwrap();
        let calls: Vec<_> = calls.lines().collect();
        let base = "http://127.0.0.1:8123/api/v1/chatkit";
        assert_eq!(calls.len(), 10, "{calls:#?}");
        assert!(text().ends_with("\n: 'Up to here.'\n\n"), "{}", text());
        assert!(
            calls[0]
                .contains(&format!("-X POST {base}/sessions -H authorization: Bearer ada.token"))
        );
        assert!(calls[1].contains(&format!("{base}/sessions/s-1/threads ")));
        for (call, is_stream) in [(calls[2], true), (calls[3], false)] {
            assert!(call.contains(&format!("{base}/sessions/s-1/threads/t-1/runs ")), "{call}");
            assert_eq!(call.starts_with("-sS -N "), is_stream, "{call}");
            let body = call.split_once("-d ").unwrap().1;
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["stream"] == false, !is_stream);
        }
        assert!(calls[4].contains(&format!(" {base}/sessions/s-1 ")));
        assert!(calls[5].contains(&format!(" {base}/sessions ")));
        let threads = " http://127.0.0.1:8123/v1/chatkit/threads -H authorization: Bearer sk-key";
        assert!(calls[6].ends_with(threads), "{}", calls[6]);
        assert!(calls[7].contains("Bearer bob.token"));
        assert!(calls[8].ends_with(r#"-d {"mesage":"Hello"}"#));
        assert!(calls[9].ends_with(r#"-d {"message":"/error"}"#));
    }

    #[test]
    #[cfg(unix)]
    fn what_was_not_made_is_said_with_the_reason() {
        let curl = r#"curl() { printf '{"error":"RATE_LIMITED"} (status 429)'; }"#;
        let script = format!("{curl}\n{}", text());
        let ran = Command::new("sh").args(["-uc", &script]).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(said, "Nothing was made: {\"error\":\"RATE_LIMITED\"} (status 429)\n".repeat(2));
    }

    #[test]
    fn lines_name_an_address_that_can_be_connected_to() {
        for (address, url) in [
            ("0.0.0.0:1", "BASE=http://127.0.0.1:1/x\n"),
            ("[::]:2", "BASE=http://[::1]:2/x\n"),
            ("127.0.0.3:3", "BASE=http://127.0.0.3:3/x\n"),
        ] {
            let tokens = ["a".to_owned(), "b".to_owned()];
            let text = walkthrough(address.parse().unwrap(), "/x", &tokens, None, ("/y", "k"));
            assert!(text.contains(url), "{text}");
        }
    }

    #[test]
    fn the_data_are_private_and_gone_at_the_end() {
        let directory = TempDirectory::new().unwrap();
        let path = directory.0.clone();
        std::fs::write(path.join("x.db"), "x").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn secrets_differ_and_are_long_enough() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
        let directory = TempDirectory::new().unwrap();
        let loaded = configuration(
            Sources::new(),
            "127.0.0.1:0".into(),
            &directory,
            &ApiKey::of("demo", "key").unwrap(),
        )
        .unwrap();
        assert!(loaded.notes.is_empty());
    }
}
