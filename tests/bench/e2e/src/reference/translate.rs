//! `bare-translate`: the least a translating gateway does.
//!
//! `bare-proxy` plus HS256, JSON parse of the REST body into structs, a ChatKit request written from
//! them, and for JSON answers a parse and an envelope. No ownership, limits, log or metrics. It makes up sessions
//! without keeping any, so that the load sets it up exactly as it does the gateway.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;

use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use super::proxy::pooled_client;
use crate::load::PREFIX;

/// Serves until the process is ended.
pub async fn serve(listener: TcpListener, upstream: &Authority, secret: &str) -> io::Result<()> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_nbf = true;
    let gateway = Rc::new(Translate {
        client: pooled_client(),
        upstream: super::upstream_uri(upstream, &Uri::from_static("/chatkit")),
        key: DecodingKey::from_secret(secret.as_bytes()),
        validation,
    });
    super::accept(listener, |stream| {
        let gateway = Rc::clone(&gateway);
        let service = service_fn(move |request| {
            let gateway = Rc::clone(&gateway);
            async move {
                let answer = gateway.answer(request).await;
                Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(refuse))
            }
        });
        let server = hyper::server::conn::http1::Builder::new();
        let connection = server.serve_connection(TokioIo::new(stream), service);
        async move { drop(connection.await) }
    })
    .await
}

struct Translate {
    client: Client<HttpConnector, Full<Bytes>>,
    upstream: Uri,
    key: DecodingKey,
    validation: Validation,
}

type Reply = Response<Either<Incoming, Full<Bytes>>>;

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

#[derive(Deserialize)]
struct Rename<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Run<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Part<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Part<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Serialize)]
struct ChatKit<'a, P> {
    #[serde(rename = "type")]
    op: &'a str,
    params: &'a P,
}

#[derive(Serialize)]
struct Thread<'a> {
    thread_id: &'a str,
}

#[derive(Serialize)]
struct Renamed<'a> {
    thread_id: &'a str,
    title: Cow<'a, str>,
}

#[derive(Serialize)]
struct UserMessage<'a> {
    thread_id: &'a str,
    input: Input<'a>,
}

#[derive(Serialize)]
struct Input<'a> {
    content: Vec<Part<'a>>,
    attachments: [&'a str; 0],
    inference_options: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Envelope<'a, D> {
    success: bool,
    data: &'a D,
}

impl Translate {
    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, StatusCode> {
        let user = self.verify(&request)?;
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
        let path = parts.uri.path().strip_prefix(PREFIX).ok_or(StatusCode::NOT_FOUND)?;
        let mut segments = path.split('/').skip(1);
        let way =
            (segments.next(), segments.next(), segments.next(), segments.next(), segments.next());
        match (parts.method, way) {
            (Method::POST, (None, ..)) => {
                parse::<&RawValue>(&body)?;
                self.forward(&user, body).await.map(|reply| reply.map(Either::Left))
            }
            (Method::POST, (Some("sessions"), None, ..)) => {
                let id = format!("{:016x}", crate::clock_ns());
                envelope(&json!({ "id": id, "user_id": user }))
            }
            (Method::POST, (Some("sessions"), Some(session), Some("threads"), None, _)) => {
                envelope(&json!({ "id": session, "session_id": session }))
            }
            (Method::GET, (Some("sessions"), Some(_), Some("threads"), Some(thread_id), None)) => {
                self.json(&user, "threads.get_by_id", &Thread { thread_id }).await
            }
            (Method::PATCH, (Some("sessions"), Some(thread_id), None, ..)) => {
                let Rename { title } = parse(&body)?;
                self.json(&user, "threads.update", &Renamed { thread_id, title }).await
            }
            (
                Method::POST,
                (Some("sessions"), _, Some("threads"), Some(thread_id), Some("runs")),
            ) => {
                let Run { message: Message { content } } = parse(&body)?;
                let none = Empty {};
                let input = Input { content, attachments: [], inference_options: none };
                let run = ChatKit {
                    op: "threads.add_user_message",
                    params: &UserMessage { thread_id, input },
                };
                self.forward(&user, write(&run)?).await.map(|reply| reply.map(Either::Left))
            }
            _ => Err(StatusCode::NOT_FOUND),
        }
    }

    fn verify(&self, request: &Request<Incoming>) -> Result<String, StatusCode> {
        let header = request.headers().get(header::AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = token.ok_or(StatusCode::UNAUTHORIZED)?;
        jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map(|verified| verified.claims.sub)
            .map_err(|_| StatusCode::UNAUTHORIZED)
    }

    async fn json(
        &self,
        user: &str,
        op: &str,
        params: &impl Serialize,
    ) -> Result<Reply, StatusCode> {
        let reply = self.forward(user, write(&ChatKit { op, params })?).await?;
        let body = Limited::new(reply.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|_| StatusCode::BAD_GATEWAY)?.to_bytes();
        envelope(&parse::<&RawValue>(&body).map_err(|_| StatusCode::BAD_GATEWAY)?)
    }

    async fn forward(&self, user: &str, body: Bytes) -> Result<Response<Incoming>, StatusCode> {
        let request = Request::post(self.upstream.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header("x-user-id", user)
            .body(Full::new(body))
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        let mut reply = self.client.request(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        super::drop_hop_by_hop(reply.headers_mut());
        if reply.status() == StatusCode::OK { Ok(reply) } else { Err(StatusCode::BAD_GATEWAY) }
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, StatusCode> {
    serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)
}

fn write(value: &impl Serialize) -> Result<Bytes, StatusCode> {
    let body = serde_json::to_vec(value).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(body.into())
}

fn envelope(data: &impl Serialize) -> Result<Reply, StatusCode> {
    let body = write(&Envelope { success: true, data })?;
    let mut reply = Response::new(Either::Right(Full::from(body)));
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(reply)
}

fn refuse(status: StatusCode) -> Reply {
    let body = json!({ "success": false, "error": { "code": status.as_str() } }).to_string();
    let mut reply = Response::new(Either::Right(Full::from(body)));
    *reply.status_mut() = status;
    reply
}

const MAX_BODY: usize = 1024 * 1024;
