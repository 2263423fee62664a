//! The client: sends one request and says what came back, and how it ended.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{Service, ServiceExt as _};

use super::format::{BodyEnd, ReplyEnd};
use super::socket::AbortOnDrop;
use crate::error::BoxError;

/// The largest reply, in bytes.
const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

/// The body of a fixture's request.
#[derive(Debug)]
pub struct ClientBody {
    data: Option<Bytes>,
    end: BodyEnd,
}

impl ClientBody {
    pub(super) fn new(data: Option<Bytes>, end: BodyEnd) -> Self {
        Self { data: data.filter(|data| !data.is_empty()), end }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.data.take(), self.end) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, BodyEnd::Clean) => Poll::Ready(None),
            // Nobody will wake it, which is what it is for.
            (None, BodyEnd::Stall) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.end == BodyEnd::Clean
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            BodyEnd::Clean => SizeHint::with_exact(self.data.as_ref().map_or(0, Bytes::len) as u64),
            BodyEnd::Stall => SizeHint::default(),
        }
    }
}

/// What the client got.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) end: ReplyEnd,
}

type PeerBody = UnsyncBoxBody<Bytes, BoxError>;
type Replying = Pin<Box<dyn Future<Output = Result<Response<PeerBody>, BoxError>> + Send>>;

/// Who the client talks to.
#[derive(Clone)]
pub(super) enum Peer {
    Service(Arc<dyn Fn(Request<ClientBody>) -> Replying + Send + Sync>),
    Socket(SocketAddr),
    Name { host: Arc<str>, port: u16 },
}

impl Peer {
    /// Makes a service of this process.
    pub(super) fn service<S, R>(service: S) -> Self
    where
        S: Service<Request<ClientBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let service = Mutex::new(service);
        Self::Service(Arc::new(move |request| {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                let response = service.oneshot(request).await.map_err(Into::into)?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        }))
    }

    /// Sends a request and reads what comes, to its end or until `leave` says so.
    ///
    /// # Errors
    /// Why there was no answer at all.
    pub(super) async fn exchange(
        &self,
        request: Request<ClientBody>,
        leave: Option<usize>,
    ) -> Result<Answered, BoxError> {
        let (response, connection) = match self {
            Self::Service(call) => (call(request).await?, None),
            Self::Socket(address) => over(TcpStream::connect(address).await?, request).await?,
            Self::Name { host, port } => {
                over(TcpStream::connect((&**host, *port)).await?, request).await?
            }
        };
        let (head, body) = response.into_parts();
        let (body, end) = read(body, leave).await?;
        drop(connection);
        Ok(Answered { status: head.status, headers: head.headers, body, end })
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(_) => f.write_str("Service"),
            Self::Socket(address) => fmt::Display::fmt(address, f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Sends a request on a connection of its own, which lasts as long as the task.
async fn over(
    stream: TcpStream,
    request: Request<ClientBody>,
) -> Result<(Response<PeerBody>, Option<AbortOnDrop>), BoxError> {
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let task = AbortOnDrop::spawn(async move {
        // Its end reaches whoever reads the body.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await?;
    Ok((response.map(|body| body.map_err(Into::into).boxed_unsync()), Some(task)))
}

async fn read(body: PeerBody, leave: Option<usize>) -> Result<(Bytes, ReplyEnd), BoxError> {
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    loop {
        if leave.is_some_and(|events| events_in(&bytes) >= events) {
            return Ok((bytes.freeze(), ReplyEnd::Left));
        }
        match body.frame().await {
            None => return Ok((bytes.freeze(), ReplyEnd::Clean)),
            Some(Err(_)) => return Ok((bytes.freeze(), ReplyEnd::Cut)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
        }
        if bytes.len() > MAX_REPLY_BYTES {
            return Err(format!("the reply is longer than {MAX_REPLY_BYTES} bytes").into());
        }
    }
}

fn events_in(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|pair| *pair == b"\n\n").count()
}
