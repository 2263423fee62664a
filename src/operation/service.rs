use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;
use uuid::Uuid;

use super::layer::OperationLayer;
use super::list::each_operation;
use super::{Exchange, Name, Operation, Read, Reply, chat, openai, passthrough, rest};
use crate::chatkit::sender::Sender;
use crate::chatkit::upstream::Upstream;
use crate::chatkit::{ChatKit, ChatKitBody, KnownTypes};
use crate::error::BoxError;
use crate::limit::BufferPermit;
use crate::operation::{ReplyBody, SessionObserver};
use crate::principal::{Identified, Principal};
use crate::rejection::{Code, RefusalStyle, Rejection, made_of};
use crate::route::{Routed, Target};
use crate::session::{Granted, Order};
use crate::surface::Surface;
use crate::telemetry::Record;

/// The service of [`OperationLayer`].
#[derive(Clone, Debug)]
pub struct Operations<S> {
    rooms: Arc<OperationLayer>,
    known: KnownTypes,
    inner: S,
}

impl<S> Operations<S> {
    pub(super) fn new(rooms: OperationLayer, inner: S) -> Self {
        Self { rooms: Arc::new(rooms), known: KnownTypes::default(), inner }
    }
}

impl<S, B, R> Service<Request<Routed<Name, B>>> for Operations<S>
where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Future: Send,
            Error: Into<BoxError> + Send,
        > + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes> + Identified + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ReplyBody<R, SessionObserver>>;
    /// Whatever fails becomes an answer.
    type Error = Infallible;
    /// Boxed, once for all steps: a store's futures and the upstream's are in it. It is dropped with
    /// the head, so that an open stream doesn't carry it.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Returns ready, always: the upstream is waited for when it is asked, so that an operation that
    /// doesn't ask it needs none.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Routed<Name, B>>) -> Self::Future {
        let Self { rooms, known, inner } = self.clone();
        let (head, body) = request.into_parts();
        let (target, body) = body.into_parts();
        let principal = body.principal().clone();
        let routed = RoutedRequest { rooms, head: Arc::new(head), target, principal };
        /// Each operation's future is a type, and a box, of its own: none has room for another's.
        macro_rules! dispatch {
            ($($name:ident: $operation:ty,)*) => {
                match routed.target.operation() {
                    $(Name::$name => Box::pin(routed.respond::<$operation, _, _, _>(body, inner, known)),)*
                }
            };
        }
        each_operation!(dispatch!)
    }
}

/// A request whose operation is known, on its way through the steps.
struct RoutedRequest {
    rooms: Arc<OperationLayer>,
    head: Arc<Parts>,
    target: Target<Name>,
    principal: Principal,
}

impl RoutedRequest {
    async fn respond<O, S, B, R>(
        self,
        body: B,
        inner: S,
        known: KnownTypes,
    ) -> Result<Response<ReplyBody<R, SessionObserver>>, Infallible>
    where
        O: Operation,
        S: ChatKit<R>,
        B: Body<Data = Bytes>,
        R: ChatKitBody,
    {
        let answer = self.answer();
        Ok(answer.of(self.carry_out::<O, S, B, R>(body, inner, known).await))
    }

    /// Does one step after the other.
    async fn carry_out<O, S, B, R>(self, body: B, inner: S, known: KnownTypes) -> Reply<R>
    where
        O: Operation,
        S: ChatKit<R>,
        B: Body<Data = Bytes>,
        R: ChatKitBody,
    {
        let (body, _room) = self.read(body).await?;
        let call = O::parse(&self.parts(&body))?;
        drop(body);
        self.check_credentials()?;
        let desk = &self.rooms.desk;
        let admitted = O::admit(desk, &self.principal, &call);
        // By its method, so that none can be forgotten: what is safe leaves nothing in the store.
        let order = if O::ROW.method.is_safe() { Order::Beside } else { Order::After };
        let grant = desk.unless_blocked(&self.principal, order, admitted).await?;
        self.tell(&grant);
        O::answer(self.exchange(inner, known), grant, call).await
    }

    fn answer(&self) -> ReplyContext {
        let buffered = self.rooms.settings.buffered.as_ref();
        let permit = buffered.map(|buffered| buffered.permit(self.principal.user_id()));
        ReplyContext { head: Arc::clone(&self.head), permit }
    }

    fn parts<'a>(&'a self, body: &'a Bytes) -> Read<'a> {
        let query = self.head.uri.query();
        Read::new(&self.rooms.reader, &self.target, query, &self.head.headers, body)
    }

    fn exchange<S>(self, inner: S, known: KnownTypes) -> Exchange<S> {
        let record = self.record().cloned();
        let Self { rooms, head, principal, target } = self;
        let settings = Arc::clone(&rooms.settings);
        let (user, operation) = (principal.user_id().clone(), target.operation().as_str());
        let sender = Sender::new(Arc::clone(&settings), head, user, operation);
        let upstream = Upstream { service: inner, sender, known };
        Exchange { upstream, settings, detached: rooms.detached.clone(), record }
    }

    /// Tells the log what the request is about.
    fn tell(&self, grant: &impl Granted) {
        let Some(record) = self.record() else { return };
        if self.principal.is_service()
            && let Some(user) = grant.user()
        {
            record.on_behalf_of(user);
        }
        if let Some(session) = grant.session_id() {
            record.session(Uuid::from_bytes(*session.as_bytes()));
        }
    }

    fn record(&self) -> Option<&Record> {
        self.head.extensions.get()
    }

    /// Reads the body within its bounds, once the head says that it can be what is due. What was
    /// read counts as long as the permit is kept.
    async fn read<B>(&self, body: B) -> Result<(Bytes, Option<BufferPermit>), Rejection>
    where
        B: Body<Data = Bytes>,
    {
        if let Some(record) = self.record() {
            record.operation(self.target.operation().as_str());
        }
        let (user, row) = (self.principal.user_id(), self.target.operation().row());
        check_user(&self.target, &self.principal)?;
        let Some(read) =
            self.rooms.reader.body((row.takes, row.gives), &self.head.headers, body, user)?
        else {
            return Ok((Bytes::new(), None));
        };
        let mut read = pin!(read);
        let body = read.as_mut().await?;
        Ok((body, read.as_mut().take_permit()))
    }

    /// Refuses a service's key where users are served, and a user where services are: the name of
    /// such a key may be some user's id, and a user is not to see what is other users'.
    fn check_credentials(&self) -> Result<(), Rejection> {
        let is_for_services = self.target.operation().surface() == Surface::OpenAi;
        if self.principal.is_service() != is_for_services {
            return Err(Rejection::new(Code::Forbidden)
                .message("These credentials are not for this API.")
                .because("a service's key is for the OpenAI-compatible API, and for that alone"));
        }
        Ok(())
    }
}

/// What a reply is answered with.
struct ReplyContext {
    head: Arc<Parts>,
    permit: Option<BufferPermit>,
}

impl ReplyContext {
    fn of<R>(self, reply: Reply<R>) -> Response<ReplyBody<R, SessionObserver>> {
        match reply {
            Ok(mut response) => {
                response.body_mut().covered_by(self.permit);
                response
            }
            Err(rejection) => made_of(rejection.into_response(&RefusalStyle::of_parts(&self.head))),
        }
    }
}

/// Refuses a path that is another user's. It is known before the body is read, whatever is in it.
///
/// It is 403 for everybody else's name, whether there is such a user or not: nothing is told by it.
fn check_user(target: &Target<Name>, principal: &Principal) -> Result<(), Rejection> {
    if target.operation().names_user() && target.user() != Some(principal.user_id().as_str()) {
        return Err(Rejection::new(Code::Forbidden)
            .message("This path is another user's.")
            .because("the path names another user"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chatkit::ChatKitSettings;
    use crate::principal::{Authenticated, UserId};
    use crate::route::Router;
    use crate::session::{Desk, MemoryStore, SessionLimits};
    use crate::surface::Surfaces;
    use crate::validate::{BodyLimits, Reader, Schemas};

    #[test]
    fn a_path_is_its_users() {
        let surfaces = Surfaces::rest("/v1").with_chat("/api");
        let router = Router::new(Name::ALL, &surfaces).unwrap();
        let target = |path| router.route(&http::Method::POST, path).unwrap();
        let ada = Principal::new(UserId::parse("ada/é").unwrap());
        for (path, ok) in [
            ("/api/chat", true),
            ("/api/ada%2F%C3%A9/chat", true),
            ("/api/ada%2fé/chat", true),
            ("/api/Ada%2F%C3%A9/chat", false),
            ("/api/ada%2F%C3%A9%20/chat", false),
            ("/api/eve/chat", false),
        ] {
            let checked = check_user(&target(path), &ada).map_err(|rejection| rejection.code());
            assert_eq!(checked, if ok { Ok(()) } else { Err(Code::Forbidden) }, "{path}");
        }
    }

    /// An upstream whose future adds next to nothing to an operation's.
    #[derive(Clone)]
    struct Boxed;

    impl Service<Request<Full<Bytes>>> for Boxed {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            Box::pin(std::future::pending())
        }
    }

    // A little above what was measured. What outgrows it is to box what few requests need, rather than
    // to have its bound raised: it is allocated for each request, and copied into its box.
    #[test]
    fn futures_are_as_small_as_they_were() {
        /// The main ones; no other takes more than 4 KiB.
        const MOST: [(Name, usize); 4] = [
            (Name::CreateRun, 3968),
            (Name::GetThread, 2752),
            (Name::ListSessions, 1280),
            (Name::Passthrough, 3776),
        ];
        let surfaces = Surfaces::rest("/v1").with_chat("/api").with_openai("/openai");
        let router = Router::new(Name::ALL, &surfaces).unwrap();
        let reader = Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
        let desk = Desk::new(Arc::new(MemoryStore::new()), SessionLimits::default());
        let settings = ChatKitSettings::default();
        let mut service = Operations::new(OperationLayer::new(reader, desk, settings), Boxed);
        let principal = Principal::new(UserId::parse("ada").unwrap());
        for name in Name::ALL {
            let prefix = match name.surface() {
                Surface::Rest => "/v1",
                Surface::Chat => "/api",
                Surface::OpenAi => "/openai",
            };
            let path = format!("{prefix}{}", name.path().replace(['{', '}'], ""));
            let target = router.route(&name.method(), &path).unwrap();
            assert_eq!(target.operation(), name);
            let body = Authenticated::new(principal.clone(), Full::<Bytes>::default());
            let future = service.call(Request::new(Routed::new(target, body)));
            let bytes = size_of_val(&*future);
            let most =
                MOST.iter().find(|(known, _)| *known == name).map_or(4096, |(_, most)| *most);
            assert!(bytes <= most, "{name}: {bytes} bytes");
        }
    }
}
