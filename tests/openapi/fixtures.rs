//! Every exchange of `fixtures/` is one that the document allows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use chatkit_rest::contract::{self, ClientBody, Target};
use chatkit_rest::error::{BoxError, Error};
use chatkit_rest::health::HealthLayer;
use chatkit_rest::openapi::document;
use chatkit_rest::operation::Name;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::session::MemoryStore;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tower::{Service, ServiceExt as _};

use crate::exchange::{Document, Got, Sent};

/// What was found while the fixtures ran.
#[derive(Default)]
struct Findings {
    /// Documents by the configuration that they are of.
    documents: HashMap<String, Arc<Document>>,
    /// The statuses that each operation was seen to answer with.
    seen: BTreeMap<String, BTreeSet<StatusCode>>,
    faults: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn every_exchange_is_as_the_document_says() {
    let findings: Arc<Mutex<Findings>> = Arc::default();
    let shared = Arc::clone(&findings);
    let target = Target::service(move |upstream, config| {
        let key = format!("{config:?}");
        let mut findings = shared.lock().unwrap();
        if !findings.documents.contains_key(&key) {
            let document = Arc::new(Document::new(document(&config.facts())?));
            findings.documents.insert(key.clone(), document);
        }
        let document = Arc::clone(&findings.documents[&key]);
        let store = Arc::new(MemoryStore::new());
        let rooms = Rooms::from_config(config, store, HealthLayer::elsewhere())?;
        let gateway = rooms.around(upstream);
        let service = Watched { gateway, document, findings: Arc::clone(&shared) };
        Ok::<_, Error>(service)
    });
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let report = contract::run_dir(fixtures, &target).await.unwrap();
    assert!(report.is_success(), "{report}");

    let findings = findings.lock().unwrap();
    assert!(findings.faults.is_empty(), "{:#?}", findings.faults);
    for operation in Name::ALL {
        let seen = findings.seen.get(operation.as_str());
        let succeeded = seen.is_some_and(|seen| seen.contains(&StatusCode::OK));
        assert!(succeeded, "{operation} was not seen to work");
    }
}

/// The gateway, with its exchanges held against its document.
#[derive(Clone)]
struct Watched<S> {
    gateway: S,
    document: Arc<Document>,
    findings: Arc<Mutex<Findings>>,
}

type Reply = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl<S, R> Service<Request<ClientBody>> for Watched<S>
where
    S: Service<Request<Copied>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ClientBody>) -> Self::Future {
        let Self { gateway, document, findings } = self.clone();
        Box::pin(async move {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let headers = request.headers().clone();
            let copy: Arc<Mutex<BytesMut>> = Arc::default();
            let request = request.map(|body| Copied { body, copy: Arc::clone(&copy) });
            let response = gateway.oneshot(request).await.map_err(Into::into)?;
            let (head, body) = response.into_parts();
            let exchange = Exchange { method, uri, headers, sent: copy, head: head.clone() };
            let body = Box::pin(body.map_err(Into::into));
            let (read, ended) = (BytesMut::new(), false);
            let body = Watching { body, read, ended, exchange, document, findings };
            Ok(Response::from_parts(head, body.boxed_unsync()))
        })
    }
}

/// All of an exchange but the response's body.
struct Exchange {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    sent: Arc<Mutex<BytesMut>>,
    head: http::response::Parts,
}

/// A response's body. When it is dropped the exchange is held against the document.
struct Watching<R> {
    body: Pin<Box<R>>,
    read: BytesMut,
    ended: bool,
    exchange: Exchange,
    document: Arc<Document>,
    findings: Arc<Mutex<Findings>>,
}

impl<R: Body<Data = Bytes>> Body for Watching<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let frame = self.body.as_mut().poll_frame(cx);
        match &frame {
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.data_ref().cloned().unwrap_or_default();
                self.read.extend_from_slice(&data);
                self.ended = self.body.is_end_stream();
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<R> Drop for Watching<R> {
    fn drop(&mut self) {
        let Exchange { method, uri, headers, sent, head } = &self.exchange;
        let is_json = head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.to_str().is_ok_and(|value| value.contains("json")));
        let sent = sent.lock().unwrap().clone();
        let sent = Sent { method, path: uri.path(), headers, body: &sent };
        // What was cut is not to be judged by what is missing.
        let body = (self.ended && is_json).then_some(&*self.read);
        let got = Got { status: head.status, headers: &head.headers, body };
        let Some((operation, faults)) = self.document.check(&sent, &got) else { return };
        let mut findings = self.findings.lock().unwrap();
        for fault in faults {
            findings.faults.push(format!("{method} {uri} ({operation}): {fault}"));
        }
        findings.seen.entry(operation).or_default().insert(head.status);
    }
}

/// The client's body, and a copy of what was read of it.
struct Copied {
    body: ClientBody,
    copy: Arc<Mutex<BytesMut>>,
}

impl Body for Copied {
    type Data = Bytes;
    type Error = <ClientBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.copy.lock().unwrap().extend_from_slice(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
