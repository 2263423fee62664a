//! Every run ends once, and the observer learns how.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chatkit_rest::forward::{ForwardError, ForwardErrorKind};
use chatkit_rest::stream::{End, HoldPolicy, RunBody, Watch, collect, hold};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;

use crate::support::{Gate, Recorder, Script, Step, drain, event, now};

const ADDED: &str = r#"{"type":"thread.item.added"}"#;
const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"thr_1"}}"#;
const ERROR: &str = r#"{"type":"error","code":"stream.error","allow_retry":true}"#;
const OPTIONS: &str = r#"{"type":"stream_options"}"#;

#[test]
fn a_stream_that_is_read_to_its_end() {
    for (events, cut, end) in [
        (&[OPTIONS, ADDED][..], false, End::Complete),
        (&[], false, End::Complete),
        (&[ADDED, ERROR], false, End::Failed),
        (&[ERROR, ADDED], false, End::Failed),
        (&[ADDED], true, End::Truncated),
        (&[], true, End::Truncated),
    ] {
        let recorder = Recorder::default();
        let mut script = Script::text(events);
        if cut {
            script = script.then(Step::Cut);
        }
        let body = RunBody::unheld(Watch::new(script, recorder.clone()));
        assert_eq!(drain(body).1.is_err(), cut);
        assert_eq!(recorder.end(), Some(end), "{events:?}");
    }
}

// After any number of frames; `end` panics if there is more than one.
#[test]
fn a_stream_that_is_dropped() {
    for polls in 0..5 {
        let recorder = Recorder::default();
        let script = Script::text(&[OPTIONS, ADDED, ADDED]).then(Step::Stall);
        let mut body = Box::pin(RunBody::unheld(Watch::new(script, recorder.clone())));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            let _: Poll<_> = body.as_mut().poll_frame(&mut cx);
        }
        assert_eq!(recorder.end(), None);
        drop(body);
        assert_eq!(recorder.end(), Some(End::Cancelled));
    }
    // One that has failed is a failed one, even if its end isn't waited for.
    let recorder = Recorder::default();
    let script = Script::text(&[ADDED, ERROR]).then(Step::Stall);
    let mut body = Box::pin(Watch::new(script, recorder.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    while body.as_mut().poll_frame(&mut cx).is_ready() {}
    drop(body);
    assert_eq!(recorder.end(), Some(End::Failed));
}

#[test]
fn a_stream_that_is_dropped_while_its_thread_is_being_stored() {
    let gate = Gate::default();
    let recorder = Recorder::binding({
        let gate = gate.clone();
        move || gate.binding()
    });
    let mut body = Box::pin(Watch::new(Script::text(&[CREATED, ADDED]), recorder.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(body.as_mut().poll_frame(&mut cx).is_pending());
    drop(body);
    assert_eq!(recorder.end(), Some(End::Cancelled));
    gate.open(Ok(()));
    assert_eq!(recorder.end(), Some(End::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_dropped() {
    let recorder = Recorder::default();
    let script = Script::text(&[OPTIONS]).then(Step::Stall);
    let mut holding = Box::pin(hold(Watch::new(script, recorder.clone()), HoldPolicy::default()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(holding.as_mut().poll(&mut cx).is_pending());
    assert_eq!(recorder.end(), None);
    drop(holding);
    assert_eq!(recorder.end(), Some(End::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_fails() {
    for (events, cut, end) in [
        (&[OPTIONS, ERROR][..], false, End::Failed),
        (&[OPTIONS], false, End::Complete),
        (&[OPTIONS], true, End::Truncated),
    ] {
        let recorder = Recorder::default();
        let mut script = Script::text(events);
        if cut {
            script = script.then(Step::Cut);
        }
        hold(Watch::new(script, recorder.clone()), HoldPolicy::default()).await.unwrap_err();
        assert_eq!(recorder.end(), Some(end), "{events:?}");
    }
}

#[test]
fn a_collected_run() {
    for (events, max_bytes, end) in [
        (&[ADDED][..], 1000, End::Complete),
        (&[ADDED, ERROR], 1000, End::Failed),
        (&[ADDED, ADDED], 50, End::Cancelled),
        (&[ADDED, ERROR, ADDED], 120, End::Failed),
    ] {
        let recorder = Recorder::default();
        let watch = Watch::new(Script::text(events), recorder.clone());
        let _ = now(collect(watch, max_bytes));
        assert_eq!(recorder.end(), Some(end), "{events:?}");
    }
}

#[test]
fn a_time_out_of_the_upstream_is_told_from_a_cut() {
    for (kind, end) in [
        (ForwardErrorKind::IdleTimeout, End::Idle),
        (ForwardErrorKind::FirstByteTimeout, End::Idle),
        (ForwardErrorKind::BodyCut, End::Truncated),
    ] {
        let mut left = vec![Err(ForwardError::new(kind)), Ok(Frame::data(event(ADDED)))];
        let body = StreamBody::new(Iter(move || left.pop()));
        let recorder = Recorder::default();
        let (out, result) = drain(Watch::new(body, recorder.clone()));
        assert_eq!(out.len(), 1);
        assert_eq!(ForwardError::find(&*result.unwrap_err()).map(ForwardError::kind), Some(kind));
        assert_eq!(recorder.end(), Some(end));
    }
}

struct Iter<F>(F);

impl<F> futures_core::Stream for Iter<F>
where
    F: FnMut() -> Option<Result<Frame<Bytes>, ForwardError>> + Unpin,
{
    type Item = Result<Frame<Bytes>, ForwardError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready((self.0)())
    }
}
