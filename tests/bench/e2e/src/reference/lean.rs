//! `bare-lean`: the upstream connection is driven from the poll of the response body.
//!
//! hyper's client connection is a future that somebody must poll. The pooled client gives it a task
//! of its own, which hands over one chunk at a time: each event is then a write of its own. Here the
//! task that writes to the client polls it, so that all chunks of one read leave in one write.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Forwards everything to `upstream` until the process is ended.
pub async fn serve(listener: TcpListener, upstream: SocketAddr) -> io::Result<()> {
    let host = HeaderValue::try_from(upstream.to_string()).map_err(io::Error::other)?;
    let pool = Rc::new(Pool { upstream, host, idle: RefCell::default() });
    super::accept(listener, |stream| {
        let pool = Rc::clone(&pool);
        let service = service_fn(move |request| forward(Rc::clone(&pool), request));
        let server = hyper::server::conn::http1::Builder::new();
        let connection = server.serve_connection(TokioIo::new(stream), service);
        async move { drop(connection.await) }
    })
    .await
}

async fn forward(
    pool: Rc<Pool>,
    mut request: Request<Incoming>,
) -> Result<Response<Either<DrivenBody, Empty<Bytes>>>, http::Error> {
    super::drop_hop_by_hop(request.headers_mut());
    match exchange(pool, request).await {
        Ok(response) => Ok(response.map(Either::Left)),
        Err(_) => {
            Response::builder().status(StatusCode::BAD_GATEWAY).body(Either::Right(Empty::new()))
        }
    }
}

async fn exchange(
    pool: Rc<Pool>,
    mut request: Request<Incoming>,
) -> Result<Response<DrivenBody>, Box<dyn std::error::Error>> {
    let mut upstream = match pool.take() {
        Some(upstream) => upstream,
        None => pool.connect().await?,
    };
    request.headers_mut().insert(header::HOST, pool.host.clone());
    let mut head = std::pin::pin!(upstream.sender.send_request(request));
    let mut response = poll_fn(|cx| {
        if let Poll::Ready(response) = head.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        // Its end shows in the answer or the body.
        let _ = Pin::new(&mut upstream.connection).poll(cx);
        head.as_mut().poll(cx)
    })
    .await?;
    super::drop_hop_by_hop(response.headers_mut());
    Ok(response.map(|body| DrivenBody { body, driven: Some((upstream, pool)) }))
}

/// Idle connections, last used first.
struct Pool {
    upstream: SocketAddr,
    host: HeaderValue,
    idle: RefCell<Vec<Upstream>>,
}

struct Upstream {
    sender: SendRequest<Incoming>,
    connection: Connection<TokioIo<TcpStream>, Incoming>,
}

impl Pool {
    /// Gives an idle connection that the upstream has not closed.
    fn take(&self) -> Option<Upstream> {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let mut upstream = self.idle.borrow_mut().pop()?;
            if Pin::new(&mut upstream.connection).poll(&mut cx).is_pending()
                && upstream.sender.is_ready()
            {
                return Some(upstream);
            }
        }
    }

    async fn connect(&self) -> Result<Upstream, Box<dyn std::error::Error>> {
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Upstream { sender, connection })
    }

    fn give_back(&self, mut upstream: Upstream) {
        let mut cx = Context::from_waker(Waker::noop());
        // Lets the connection see that the body is at its end.
        if Pin::new(&mut upstream.connection).poll(&mut cx).is_pending() {
            self.idle.borrow_mut().push(upstream);
        }
    }
}

/// A response body that polls the connection it comes from.
struct DrivenBody {
    body: Incoming,
    driven: Option<(Upstream, Rc<Pool>)>,
}

impl Body for DrivenBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending()
            && let Some((upstream, _)) = &mut this.driven
        {
            let _ = Pin::new(&mut upstream.connection).poll(cx);
            polled = Pin::new(&mut this.body).poll_frame(cx);
        }
        if (matches!(polled, Poll::Ready(None)) || this.body.is_end_stream())
            && let Some((upstream, pool)) = this.driven.take()
        {
            pool.give_back(upstream);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
