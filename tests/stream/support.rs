//! Bodies, observers and cuts that the tests share.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chatkit_rest::error::BoxError;
use chatkit_rest::stream::{Binding, End, Event, EventKind, ItemKind, RunObserver};
use http_body::{Body, Frame};
use proptest::prelude::*;

/// What a [`Script`] does next.
#[derive(Debug)]
pub(crate) enum Step {
    Data(Bytes),
    /// Pending once, and awake again at once.
    Nap,
    /// Pending for ever.
    Stall,
    Cut,
}

/// A body that follows a script and then ends.
#[derive(Debug)]
pub(crate) struct Script(VecDeque<Step>);

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    pub(crate) fn frames<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> Self {
        Self::new(frames.into_iter().map(|frame| Step::Data(frame.clone())))
    }

    pub(crate) fn text(events: &[&str]) -> Self {
        Self::new(events.iter().map(|event| data(event)))
    }

    pub(crate) fn then(mut self, step: Step) -> Self {
        self.0.push_back(step);
        self
    }
}

/// Makes one event in a frame of its own.
pub(crate) fn data(json: &str) -> Step {
    Step::Data(event(json))
}

pub(crate) fn event(json: &str) -> Bytes {
    Bytes::from(format!("data: {json}\n\n"))
}

#[derive(Debug)]
pub(crate) struct WasCut;

impl fmt::Display for WasCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for WasCut {}

impl Body for Script {
    type Data = Bytes;
    type Error = WasCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WasCut>>> {
        match self.0.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Nap) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Stall) => {
                self.0.push_front(Step::Stall);
                Poll::Pending
            }
            Some(Step::Cut) => Poll::Ready(Some(Err(WasCut))),
            None => Poll::Ready(None),
        }
    }
}

/// What an observer was told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Created(String),
    Named(String),
    Event(Fact),
    Ended(End),
}

/// An event, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) kind: EventKind,
    pub(crate) item_kind: Option<ItemKind>,
    pub(crate) id: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) error: Option<(String, Option<String>, bool)>,
}

impl Fact {
    fn of(event: Event<'_>) -> Self {
        Self {
            kind: event.kind,
            item_kind: event.item_kind,
            id: event.id.map(str::to_owned),
            title: event.title.map(str::to_owned),
            error: event.error.map(|error| {
                (error.code.to_owned(), error.message.map(str::to_owned), error.allow_retry)
            }),
        }
    }
}

type Bind = Box<dyn FnMut() -> Binding + Send>;

/// Writes down what it is told, and lets a test decide what a binding does.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    told: Arc<Mutex<Vec<Told>>>,
    bind: Option<Arc<Mutex<Bind>>>,
}

impl Recorder {
    pub(crate) fn binding(bind: impl FnMut() -> Binding + Send + 'static) -> Self {
        Self { told: Arc::default(), bind: Some(Arc::new(Mutex::new(Box::new(bind)))) }
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Tells how the run ended, and nothing if it hasn't; more than one end is a fault.
    pub(crate) fn end(&self) -> Option<End> {
        let ends: Vec<End> = self
            .told()
            .into_iter()
            .filter_map(|told| if let Told::Ended(end) = told { Some(end) } else { None })
            .collect();
        assert!(ends.len() <= 1, "{ends:?}");
        ends.first().copied()
    }

    fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }
}

impl RunObserver for Recorder {
    fn thread_created(&mut self, thread_id: &str) -> Option<Binding> {
        self.tell(Told::Created(thread_id.to_owned()));
        self.bind.as_ref().map(|bind| (bind.lock().unwrap())())
    }

    fn thread_named(&mut self, thread_id: &str) -> Option<Binding> {
        self.tell(Told::Named(thread_id.to_owned()));
        self.bind.as_ref().map(|bind| (bind.lock().unwrap())())
    }

    fn event(&mut self, event: Event<'_>) {
        self.tell(Told::Event(Fact::of(event)));
    }

    fn ended(&mut self, end: End) {
        self.tell(Told::Ended(end));
    }
}

/// A gate that a binding waits at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    outcome: Option<Result<(), ()>>,
    waiting: Option<Waker>,
}

impl Gate {
    pub(crate) fn open(&self, outcome: Result<(), ()>) {
        let waiting = {
            let mut gate = self.0.lock().unwrap();
            gate.outcome = Some(outcome);
            gate.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    pub(crate) fn binding(&self) -> Binding {
        let gate = self.clone();
        Box::pin(std::future::poll_fn(move |cx| {
            let mut gate = gate.0.lock().unwrap();
            if let Some(outcome) = gate.outcome {
                return Poll::Ready(outcome.map_err(|()| BoxError::from("not stored")));
            }
            gate.waiting = Some(cx.waker().clone());
            Poll::Pending
        }))
    }
}

/// Gives the same bytes in other pieces. Cuts may coincide, which gives empty pieces.
pub(crate) fn cut(stream: &Bytes, cuts: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.sort_unstable();
    places.push(stream.len());
    let mut from = 0;
    let mut pieces = Vec::new();
    for place in places {
        pieces.push(stream.slice(from..place));
        from = place;
    }
    pieces
}

pub(crate) fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// Gives everything that comes out of a body, and whether it ended well. Naps are waited out.
pub(crate) fn drain<B>(body: B) -> (Vec<Bytes>, Result<(), BoxError>)
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    let mut body = Box::pin(body);
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    for _ in 0..100_000 {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frames.push(frame.into_data().unwrap()),
            Poll::Ready(Some(Err(error))) => return (frames, Err(error)),
            Poll::Ready(None) => return (frames, Ok(())),
            Poll::Pending => {}
        }
    }
    panic!("the body stalls");
}

/// Runs a future that never waits for anything but naps.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("the future stalls");
}

/// Expects the very same memory, in the same pieces.
pub(crate) fn assert_same_frames(out: &[Bytes], sent: &[Bytes]) {
    let place = |frame: &Bytes| (frame.as_ptr(), frame.len());
    assert_eq!(
        out.iter().map(place).collect::<Vec<_>>(),
        sent.iter().map(place).collect::<Vec<_>>()
    );
}
