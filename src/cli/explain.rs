//! `chatkit-rest explain`.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::config::{AuthConfig, Config, Sources};
use chatkit_rest::error::Error;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::operation::Name;
use chatkit_rest::principal::UserId;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::route::{Router, Target};
use chatkit_rest::surface::Surface;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use tower::ServiceExt as _;

use self::furnish::Furnished;
use self::recorder::Recorder;
use self::words::{answered, checks, is_refusal, own_answer, sent, what_follows, what_it_is};
use super::settings::file_and_environment;
use super::{CommandFailure, output, token};

mod furnish;
mod recorder;
mod words;

/// The largest body that is read from a file or standard input.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// Show what a request becomes, without sending it
///
/// Takes a request to the gateway as far as the ChatKit server, and prints which operation it is, what
/// is checked in which order, and the ChatKit request with its headers; or the refusal, as the client
/// would see it. It goes through the very code that serves requests. Nothing is sent and nothing stored:
/// the caller's token is taken for valid, and what the request names (sessions, threads, attachments)
/// for the caller's own.
///
/// In PATH, names in braces, as the document has them, stand for an example of each: `{session_id}`,
/// `{thread_id}`, `{item_id}`, `{attachment_id}`, `{conversation_id}`, `{user_id}`.
///
/// Exit code: 0 if it was explained, refused or not; 2 for wrong usage or configuration.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest explain POST /api/chat -d '{\"message\": \"Hello\"}'
  chatkit-rest explain POST /api/v1/chatkit/sessions/{session_id}/threads/{thread_id}/runs \\
      -d '{\"message\": \"Hello\"}' --config gateway.toml
  chatkit-rest explain GET /v1/models")]
pub(super) struct Explain {
    /// Method of the request, in capitals
    #[arg(value_name = "METHOD")]
    method: String,

    /// Path of the request, with its query; of a whole URL, that part counts
    #[arg(value_name = "PATH")]
    path: String,

    /// Body of the request; @FILE reads it from there, @- from standard input. JSON, unless -H says otherwise
    #[arg(short, long, value_name = "BODY")]
    data: Option<String>,

    /// Header of the request, as often as there are any
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Who is calling; if not given, the user whom the path names, or else ada, or `auth.anonymous_user`
    /// where `auth.mode` is none
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Take the session for one that has no thread yet
    #[arg(long)]
    first: bool,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let config = self.configuration()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("could not start the runtime", error))?;
        let text = runtime.block_on(self.explain(config))?;
        Ok(output::print(&output::harmless(&text))?)
    }

    /// Reads the configuration. It need not say how callers are verified: here they are.
    fn configuration(&self) -> Result<Config, CommandFailure> {
        let sources = || file_and_environment(self.config.clone());
        match sources().load() {
            Ok(loaded) => Ok(loaded.config),
            Err(faults) if faults.iter().all(|fault| fault.key() == Some("auth.secret")) => {
                Ok(sources().set("explain", "auth.secret", NO_SECRET).load()?.config)
            }
            Err(faults) => Err(faults.into()),
        }
    }

    async fn explain(self, config: Config) -> Result<String, CommandFailure> {
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|error| usage("METHOD", error))?;
        let somebody = match &config.auth {
            AuthConfig::Anonymous(anonymous) => anonymous.user.as_str(),
            _ => SOMEBODY,
        };
        let caller = self.user.as_deref().unwrap_or(somebody);
        let caller = UserId::parse(caller).map_err(|error| usage("--user", error))?;
        let uri = self.uri(&caller, &config)?;
        let body = self.body()?;
        let router = Router::new(Name::ALL, &config.facts().surfaces)?;
        let target = router.route(&method, uri.path()).ok();
        let surface = config.facts().surfaces.of_path(uri.path());
        let named = target.as_ref().and_then(Target::user).map(UserId::parse).transpose();
        let named = named.map_err(|error| usage("PATH", error))?;
        let differs = self.user.is_some() && named.as_ref().is_some_and(|named| *named != caller);
        // With tokens the one decides that is shown; without, whom the path names is believed.
        let is_another = differs && !matches!(config.auth, AuthConfig::Anonymous(_));
        let user = match named {
            Some(named) if !is_another => named,
            _ => caller,
        };
        let furnished = Furnished::with(target.as_ref(), &body, &user, self.first).await?;

        // Whoever they would be by a token they are here by themselves, and services by a key of our own.
        // Only who is at another's path shows a token, as nobody is refused there without.
        let mut believing = config.clone();
        let (key, entry) = token::service_key("explain")?;
        believing.openai.api_keys.push(entry);
        let sources = if is_another {
            Sources::new().set("explain", "auth.secret", NO_SECRET)
        } else {
            Sources::new().set("explain", "auth.mode", "none").set(
                "explain",
                "auth.anonymous_user",
                user.as_str(),
            )
        };
        believing.auth = sources.load()?.config.auth;
        let token = match &believing.auth {
            _ if surface == Surface::OpenAi => key,
            AuthConfig::Jwt(jwt) => token::mint(jwt, &user, LIFE, Vec::new(), Timestamp::now())?,
            _ => THE_TOKEN.into(),
        };
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        self.add_headers(request.headers_mut(), !body.is_empty(), &token)?;

        let upstream = Recorder::default();
        let rooms = Rooms::from_config(&believing, furnished.store(), HealthLayer::elsewhere())?
            .with_own_paths(&config)?;
        let answer = rooms.around(upstream.clone()).oneshot(request).await.map_err(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            Error::io("the request was not answered", io::Error::other(error))
        })?;
        let (head, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| Error::io("the answer was cut", io::Error::other(error)))?;
        // The connection would leave it out.
        let body = if method == Method::HEAD { Bytes::new() } else { body.to_bytes() };
        let answer = Response::from_parts(head, body);
        rooms.finished().await;

        let mut text = String::new();
        // Writing to a `String` does not fail.
        if target.is_none() && !is_refusal(answer.status()) {
            let _ = own_answer(&mut text, (&method, uri.path()), &answer);
            return Ok(text);
        }
        let _ = what_it_is(&mut text, (&method, uri.path()), target.as_ref());
        if let Some(target) = &target {
            let _ = checks(&mut text, &config, target);
            let _ = furnished.describe(&mut text);
            if differs && !is_another {
                text.push_str(
                    "  whom the path names: with auth.mode none, --user counts on other paths\n",
                );
            }
        }
        let asked = upstream.recorded();
        for (head, body) in &asked {
            let _ = sent(&mut text, &config, head, body);
        }
        let takes_body = target.as_ref().is_some_and(|it| it.operation().has_body());
        let is_run = target.is_some_and(|target| target.operation().is_run());
        let _ = if asked.is_empty() {
            answered(&mut text, &answer)
        } else {
            what_follows(&mut text, is_run, &answer)
        };
        if self.data.is_none() && takes_body && asked.is_empty() && is_refusal(answer.status()) {
            text.push_str("\nIt was explained without a body; -d BODY or -d @FILE gives it one.\n");
        }
        Ok(text)
    }

    /// Gives the request's target, with examples in the place of what is in braces.
    fn uri(&self, user: &UserId, config: &Config) -> Result<Uri, CommandFailure> {
        let filled = furnish::fill(&self.path, user, config.chat.id_format)
            .map_err(|error| usage("PATH", error))?;
        // A name alone would be read as a host.
        if !filled.starts_with('/') && !filled.contains("://") {
            let write = format!("expected one that begins with /; write /{}", self.path);
            return Err(usage("PATH", write));
        }
        let uri: Uri = filled.parse().map_err(|error| usage("PATH", error))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        target.parse().map_err(|error| usage("PATH", error))
    }

    fn body(&self) -> Result<Bytes, CommandFailure> {
        let Some(data) = &self.data else { return Ok(Bytes::new()) };
        match data.strip_prefix('@') {
            None => Ok(data.clone().into()),
            Some("-") => bounded("standard input", Ok(io::stdin().lock())),
            Some(path) => {
                // To open one would wait for who writes into it, if anybody does.
                if std::fs::metadata(path).is_ok_and(|it| !it.is_file()) {
                    let why = "is no regular file; expected one, or @- for standard input";
                    return Err(usage("-d", format!("{path} {why}")));
                }
                bounded(path, std::fs::File::open(path))
            }
        }
    }

    fn add_headers(
        &self,
        headers: &mut HeaderMap,
        has_body: bool,
        token: &str,
    ) -> Result<(), CommandFailure> {
        for header in &self.headers {
            let bad = || usage("-H", format!("{header:?}: expected NAME: VALUE"));
            let (name, value) = header.split_once(':').ok_or_else(bad)?;
            let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
            if name == AUTHORIZATION || name == HOST {
                return Err(usage("-H", format!("{name}: it is the example's; see --user")));
            }
            headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| bad())?);
        }
        if has_body && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let bearer = HeaderValue::try_from(format!("Bearer {token}"));
        headers.insert(AUTHORIZATION, bearer.map_err(|error| usage("--user", error))?);
        Ok(())
    }
}

/// Who is calling if nobody is named.
const SOMEBODY: &str = "ada";

/// How long a token is good for that is made for the example.
const LIFE: Duration = Duration::from_secs(60);

/// What no token is checked with.
const NO_SECRET: &str = "nothing is verified with this secret, which is in the program";

/// What stands for the client's token.
const THE_TOKEN: &str = "TOKEN";

/// Reads a body, up to the most that is read of one.
fn bounded(name: &str, source: io::Result<impl Read>) -> Result<Bytes, CommandFailure> {
    let mut body = Vec::new();
    source
        // One byte more than allowed tells a body that is too large from one that just fits.
        .and_then(|source| source.take(MAX_BODY_BYTES + 1).read_to_end(&mut body))
        .map_err(|error| usage("-d", format!("could not read {name}: {error}")))?;
    if u64::try_from(body.len()).is_ok_and(|length| length > MAX_BODY_BYTES) {
        let most = MAX_BODY_BYTES >> 20;
        return Err(usage("-d", format!("{name} has more than {most} MiB, the most that is read")));
    }
    Ok(body.into())
}

fn usage(what: &str, why: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Usage(output::harmless(&format!("{what}: {why}")))
}

#[cfg(test)]
mod tests;
