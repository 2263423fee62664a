//! `chatkit-rest explain`.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use chatkit_rest::config::{Config, Sources, Upstream};
use chatkit_rest::error::Error;
use chatkit_rest::forward::UpstreamUrl;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::operation::Name;
use chatkit_rest::principal::UserId;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::route::{Router, Target};
use chatkit_rest::surface::Surface;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

use self::furnish::Furnished;
use self::recorder::Recorder;
use super::settings::file_and_environment;
use super::{CommandFailure, output, token};

mod furnish;
mod recorder;

/// The largest body that is read from a file.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Show what a request becomes, without sending it
///
/// Takes a request to the gateway as far as the ChatKit server, and prints which operation it is, what
/// is checked in which order, and the ChatKit request with its headers; or the refusal, as the client
/// would see it. It goes through the very code that serves requests. Nothing is sent and nothing stored:
/// the caller's token is taken for valid, and what the request names (sessions, threads, attachments)
/// for the caller's own.
///
/// In PATH, names in braces, as the document has them, stand for an example of each.
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
    /// Method of the request
    #[arg(value_name = "METHOD")]
    method: String,

    /// Path of the request, with its query; of a whole URL, that part counts
    #[arg(value_name = "PATH")]
    path: String,

    /// Body of the request; @FILE reads it from there. JSON, unless -H says otherwise
    #[arg(short, long, value_name = "BODY")]
    data: Option<String>,

    /// Header of the request, as often as there are any
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Who is calling, unless the path says so
    #[arg(long, value_name = "USER", default_value = "ada")]
    user: String,

    /// Take the session for one that has no thread yet
    #[arg(long)]
    first: bool,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let user = UserId::parse(&self.user).map_err(|error| usage("--user", error))?;
        let config = self.configuration()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("could not start the runtime", error))?;
        let text = runtime.block_on(self.explain(config, user))?;
        Ok(output::print(&text)?)
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

    async fn explain(self, config: Config, user: UserId) -> Result<String, CommandFailure> {
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|error| usage("METHOD", error))?;
        let uri = self.uri(&user, &config)?;
        let body = self.body()?;
        let router = Router::new(Name::ALL, &config.facts().surfaces)?;
        let target = router.route(&method, uri.path()).ok();
        let surface = config.facts().surfaces.of_path(uri.path());
        let user = match target.as_ref().and_then(Target::user) {
            Some(named) => UserId::parse(named).map_err(|error| usage("PATH", error))?,
            None => user,
        };
        let furnished = Furnished::with(target.as_ref(), &body, &user, self.first).await?;

        // Whoever they would be by a token they are here by themselves, and services by a key of our own.
        let mut believing = config.clone();
        let (key, entry) = token::service_key("explain")?;
        believing.openai.api_keys.push(entry);
        believing.auth = Sources::new()
            .set("explain", "auth.mode", "none")
            .set("explain", "auth.anonymous_user", user.as_str())
            .load()?
            .config
            .auth;
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        let token = if surface == Surface::OpenAi { key.as_str() } else { THE_TOKEN };
        self.add_headers(request.headers_mut(), !body.is_empty(), token)?;

        let upstream = Recorder::default();
        let rooms = Rooms::from_config(&believing, furnished.store(), HealthLayer::elsewhere())?;
        let answer = rooms.around(upstream.clone()).oneshot(request).await;
        rooms.finished().await;
        let answer = answer.map_err(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            Error::io("the request was not answered", std::io::Error::other(error))
        })?;

        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = what_it_is(&mut text, (&method, uri.path()), target.as_ref());
        if let Some(target) = &target {
            let _ = checks(&mut text, &config, target);
            let _ = furnished.describe(&mut text);
        }
        let asked = upstream.recorded();
        for (head, body) in &asked {
            let _ = sent(&mut text, &config, head, body);
        }
        match (asked.len(), target.map(|target| target.operation())) {
            (0, _) => {
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(|error| {
                    Error::io("the answer was cut", std::io::Error::other(error))
                })?;
                let _ = answered(&mut text, &Response::from_parts(head, body.to_bytes()));
            }
            (_, Some(operation)) if operation.is_run() => {
                text.push_str("\nThe events of its answer are the client's, byte for byte.\n");
            }
            _ => text.push_str(
                "\nIts threads are taken for empty; whatever else follows from its answer is not shown.\n",
            ),
        }
        Ok(text)
    }

    /// Gives the request's target, with examples in the place of what is in braces.
    fn uri(&self, user: &UserId, config: &Config) -> Result<Uri, CommandFailure> {
        let filled = furnish::fill(&self.path, user, config.chat.id_format);
        // A name alone would be read as a host.
        if !filled.starts_with('/') && !filled.contains("://") {
            return Err(usage("PATH", "expected one that begins with /"));
        }
        let uri: Uri = filled.parse().map_err(|error| usage("PATH", error))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        target.parse().map_err(|error| usage("PATH", error))
    }

    fn body(&self) -> Result<Bytes, CommandFailure> {
        use std::io::Read as _;
        let Some(data) = &self.data else { return Ok(Bytes::new()) };
        let Some(path) = data.strip_prefix('@') else { return Ok(data.clone().into()) };
        let mut body = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut body))
            .map_err(|error| Error::io(format!("could not read {path}"), error))?;
        Ok(body.into())
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

/// What no token is checked with.
const NO_SECRET: &str = "nothing is verified with this secret, which is in the program";

/// What stands for the client's token.
const THE_TOKEN: &str = "TOKEN";

fn usage(what: &str, why: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Usage(format!("{what}: {why}"))
}

fn what_it_is(
    text: &mut String,
    (method, path): (&Method, &str),
    target: Option<&Target<Name>>,
) -> std::fmt::Result {
    let Some(target) = target else { return writeln!(text, "{method} {path} is no operation.") };
    let surface = match target.operation().surface() {
        Surface::Rest => "REST",
        Surface::Chat => "one-shot chat",
        Surface::OpenAi => "the OpenAI-compatible API",
        _ => "another surface",
    };
    writeln!(text, "{method} {path} is {} ({surface}).", target.operation())
}

/// Lists the checks as the rooms are passed.
fn checks(text: &mut String, config: &Config, target: &Target<Name>) -> std::fmt::Result {
    let operation = target.operation();
    let limits = &config.limits;
    let mut steps: Vec<String> = Vec::new();
    steps.push(match operation.surface() {
        Surface::OpenAi if config.openai.api_keys.is_empty() => {
            "a service's key: none is configured (openai.api_keys), so that everybody is refused (401)"
                .into()
        }
        Surface::OpenAi => "a service's key, of openai.api_keys (401)".into(),
        _ => "the user's token, by [auth]; 503 if limits.max_unauthenticated are looked up (401)".into(),
    });
    steps.push(format!(
        "a place among {} requests: limits.max_in_flight (503)",
        limits.max_in_flight
    ));
    if let Some(rate) = limits.requests_per_minute {
        steps.push(format!("{rate} requests a minute: limits.requests_per_minute (429)"));
    }
    if operation.names_user() {
        steps.push("{user_id} is the caller (403)".into());
    }
    if operation.has_body() {
        steps.push(format!(
            "the body's type, size and JSON: limits.max_body_bytes is {} (400, 408, 413, 415)",
            limits.max_body_bytes
        ));
    }
    let as_form = if operation.surface() == Surface::Chat { "400 or 422" } else { "400" };
    steps.push(format!(
        "body and query by their schemas, and what the client accepts ({as_form}, 406): /openapi.json \
         has them"
    ));
    for (name, _) in target.parameters() {
        let owned = match name {
            "session_id" if operation.surface() == Surface::OpenAi => {
                "the client session is known (404)"
            }
            "session_id" => "the session is the caller's (404, or 403; session.hide_foreign)",
            "thread_id" if operation.surface() == Surface::OpenAi => {
                "the thread is known here (404)"
            }
            "thread_id" => "the thread is the session's (404)",
            "conversation_id" => "the conversation is the caller's (404)",
            "attachment_id" => "the attachment is the caller's (404, or 403; attachments.unknown)",
            _ => continue,
        };
        steps.push(owned.into());
    }
    if matches!(operation, Name::Passthrough | Name::Chat | Name::ChatForUser) || operation.is_run()
    {
        steps
            .push("threads and attachments that the body names are the caller's (403, 404)".into());
    }
    if operation.is_run() {
        steps.push(format!(
            "a place among {} open streams (429), and among the session's messages (429); no first run \
             is under way (409)",
            limits.max_streams_per_user
        ));
    }
    writeln!(text, "\nChecked, in this order:")?;
    for (number, step) in (1..).zip(&steps) {
        writeln!(text, "  {number}. {step}")?;
    }
    Ok(())
}

/// Writes what would have been sent, but for what belongs to the connection.
fn sent(text: &mut String, config: &Config, head: &Parts, body: &Bytes) -> std::fmt::Result {
    let to = match &config.upstream.url {
        Upstream::Url(url) => UpstreamUrl::parse(&url.to_string())
            .map_or_else(|_| head.uri.to_string(), |url| url.to_string()),
        _ => "the built-in server".into(),
    };
    writeln!(text, "\nThe ChatKit server would be sent:\n\nPOST {to}")?;
    for (name, value) in &head.headers {
        writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
    }
    writeln!(text, "\n{}", String::from_utf8_lossy(body))
}

fn answered(text: &mut String, answer: &Response<Bytes>) -> std::fmt::Result {
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        writeln!(text, "\nIt is refused, and the ChatKit server asked nothing:\n\n{status}")?;
    } else {
        writeln!(
            text,
            "\nThe ChatKit server is asked nothing. The answer, of a store with what is assumed:\n\n{status}"
        )?;
    }
    for name in ["content-type", "allow", "location", "retry-after"] {
        if let Some(value) = answer.headers().get(name) {
            writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
    }
    writeln!(text, "\n{}", String::from_utf8_lossy(answer.body()))
}

#[cfg(test)]
mod tests;
