//! When a run's status is fixed.

use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::stream::{
    HoldPolicy, NoObserver, RunBody, RunError, RunFailure, RunFailureCause, Watch, hold,
};
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

use crate::support::{Script, Step, data, event, now};

const ADDED: &str = r#"{"type":"thread.item.added"}"#;
const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"thr_1"}}"#;
const ERROR: &str = r#"{"type":"error","code":"custom","message":"No.","allow_retry":true}"#;
const OPTIONS: &str = r#"{"type":"stream_options","stream_options":{"allow_cancel":true}}"#;
const USER: &str = r#"{"type":"thread.item.done","item":{"id":"msg_1","type":"user_message"}}"#;
const ANSWER: &str =
    r#"{"type":"thread.item.done","item":{"id":"msg_2","type":"assistant_message"}}"#;

type Held = Result<RunBody<Script, NoObserver>, RunFailure>;

fn held(script: Script, policy: HoldPolicy) -> Held {
    now(hold(Watch::new(script, NoObserver), policy))
}

/// How many frames of `events` are read before the status is fixed, if the last is no end.
fn frames_before_commit(events: &[&str], policy: HoldPolicy) -> usize {
    (0..=events.len())
        .find(|count| {
            let script = Script::text(&events[..*count]).then(Step::Cut);
            held(script, policy).is_ok()
        })
        .expect("a commit")
}

#[tokio::test(start_paused = true)]
async fn the_first_output_commits_and_the_preamble_does_not() {
    let policy = HoldPolicy::default();
    for output in [
        ADDED,
        ANSWER,
        r#"{"type":"thread.updated","thread":{"id":"thr_1"}}"#,
        r#"{"type":"progress_update"}"#,
        r#"{"type":"thread.item.done","item":{"type":"widget"}}"#,
        r#"{"type":"some.future.event"}"#,
        "[DONE]",
    ] {
        assert_eq!(frames_before_commit(&[CREATED, USER, OPTIONS, output], policy), 4, "{output}");
        assert_eq!(frames_before_commit(&[output], policy), 1, "{output}");
    }
    // A comment is no output, and nor is half an event.
    let script = Script::new([
        Step::Data(Bytes::from_static(b": ping\n\n")),
        Step::Data(Bytes::from_static(b"data: {\"type\":\"thread.item.added\"}\n")),
        Step::Cut,
    ]);
    assert!(matches!(held(script, policy).unwrap_err().cause, RunFailureCause::Broken(_)));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_in_is_no_output_where_it_is_replaced_first() {
    let policy = HoldPolicy::default();
    let replaced = |kind: &str| {
        format!(r#"{{"type":"thread.item.replaced","item":{{"id":"i","type":"{kind}"}}}}"#)
    };
    for kind in ["structured_input", "client_tool_call"] {
        let failure = held(Script::text(&[OPTIONS, &replaced(kind), ERROR]), policy).unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)), "{kind}");
        assert_eq!(frames_before_commit(&[&replaced(kind), OPTIONS, ADDED], policy), 3);
        // After output it is output like any other.
        assert!(held(Script::text(&[ADDED, &replaced(kind), ERROR]), policy).is_ok());
    }
    assert_eq!(frames_before_commit(&[OPTIONS, &replaced("widget"), ADDED], policy), 2);
    assert_eq!(frames_before_commit(&[r#"{"type":"thread.item.replaced"}"#], policy), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_event_before_any_output_is_a_failure_with_what_is_known() {
    let failure =
        held(Script::text(&[CREATED, USER, OPTIONS, ERROR, ADDED]), HoldPolicy::default())
            .unwrap_err();
    let RunFailureCause::ErrorEvent(error) = failure.cause else { panic!("{failure:?}") };
    let message = Some("No.".to_owned());
    assert_eq!(error, RunError { code: "custom".to_owned(), message, allow_retry: true });
    assert_eq!(failure.preamble.thread_id.as_deref(), Some("thr_1"));
    assert_eq!(failure.preamble.user_message_id.as_deref(), Some("msg_1"));
    assert_eq!(failure.events, 4);

    // Also if they come in one frame, and even if output follows in that frame.
    let frame = [event(CREATED), event(ERROR), event(ADDED)].concat();
    let failure = held(Script::new([Step::Data(frame.into())]), HoldPolicy::default()).unwrap_err();
    assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)));

    // After output it is the client's to read.
    let frame = [event(ADDED), event(ERROR)].concat();
    assert!(held(Script::new([Step::Data(frame.into())]), HoldPolicy::default()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_end_or_a_cut_before_any_output_is_a_failure() {
    for (events, expected) in [(&[][..], 0), (&[CREATED, OPTIONS], 2)] {
        let failure = held(Script::text(events), HoldPolicy::default()).unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::Ended));
        assert_eq!(failure.events, expected);
        let script = Script::text(events).then(Step::Cut);
        let failure = held(script, HoldPolicy::default()).unwrap_err();
        assert!(matches!(&failure.cause, RunFailureCause::Broken(e) if e.to_string() == "cut"));
        assert_eq!(failure.events, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_held_than_may_be() {
    let length = event(CREATED).len();
    for (hold_bytes, frames) in
        [(0, 1), (1, 1), (length, 1), (length + 1, 2), (length * 2, 2), (length * 2 + 1, 3)]
    {
        let policy = HoldPolicy { hold_bytes, ..HoldPolicy::default() };
        assert_eq!(frames_before_commit(&[CREATED; 4], policy), frames, "{hold_bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_hold_the_preamble_commits() {
    let policy = HoldPolicy { hold_for: Duration::ZERO, ..HoldPolicy::default() };
    assert_eq!(frames_before_commit(&[CREATED, USER, OPTIONS, ADDED], policy), 2);
    assert_eq!(frames_before_commit(&[CREATED, OPTIONS, ADDED], policy), 2);
    // A run on an existing thread may have none.
    assert_eq!(frames_before_commit(&[CREATED, ADDED], policy), 2);
    let failure = held(Script::text(&[CREATED]), policy).unwrap_err();
    assert!(matches!(failure.cause, RunFailureCause::Ended));
}

/// A body whose frames a test sends when it likes.
struct Channel(mpsc::UnboundedReceiver<Bytes>);

impl Body for Channel {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_counts_from_the_first_byte() {
    let (send, receive) = mpsc::unbounded_channel();
    let policy = HoldPolicy { hold_for: Duration::from_secs(5), ..HoldPolicy::default() };
    let begun = Instant::now();
    let holding = tokio::spawn(hold(Watch::new(Channel(receive), NoObserver), policy));
    // No byte: nothing is committed, for as long as the upstream may take.
    for _ in 0..100 {
        advance(Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
        assert!(!holding.is_finished());
    }
    // An empty frame is no byte.
    send.send(Bytes::new()).unwrap();
    advance(Duration::from_secs(10)).await;
    tokio::task::yield_now().await;
    assert!(!holding.is_finished());

    send.send(event(CREATED)).unwrap();
    tokio::task::yield_now().await;
    advance(Duration::from_secs(3)).await;
    // More of the preamble doesn't put it off.
    send.send(event(USER)).unwrap();
    let body = holding.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(1010 + 5));

    send.send(event(ADDED)).unwrap();
    drop(send);
    let (out, end) = crate::support::drain(body);
    assert_eq!(out, [Bytes::new(), event(CREATED), event(USER), event(ADDED)]);
    assert!(end.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_takes_longer_than_the_hold_still_comes_first() {
    let gate = crate::support::Gate::default();
    let recorder = crate::support::Recorder::binding({
        let gate = gate.clone();
        move || gate.binding()
    });
    let script = Script::new([data(OPTIONS), data(CREATED), data(ADDED)]);
    let body = hold(Watch::new(script, recorder), HoldPolicy::default()).await.unwrap();
    let mut body = Box::pin(body);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut next = || body.as_mut().poll_frame(&mut cx);
    assert!(next().is_ready());
    assert!(next().is_pending());
    gate.open(Ok(()));
    assert!(next().is_ready());
}
