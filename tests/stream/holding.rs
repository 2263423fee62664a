//! When a run's status is fixed.

use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::stream::{
    HoldPolicy, NoObserver, RunBody, RunFailure, RunFailureCause, Watch, hold,
};
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

use crate::support::{Script, Step, data, event, now};

const ADDED: &str = r#"{"type":"thread.item.added"}"#;
const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"thr_1"}}"#;
const ERROR: &str = r#"{"type":"error","code":"custom","message":"No.","allow_retry":true}"#;
const OPTIONS: &str = r#"{"type":"stream_options","stream_options":{"allow_cancel":true}}"#;
const UPDATED: &str = r#"{"type":"thread.updated","thread":{"id":"thr_1","title":"Rain"}}"#;
const USER: &str = r#"{"type":"thread.item.done","item":{"id":"msg_1","type":"user_message"}}"#;
const ANSWER: &str =
    r#"{"type":"thread.item.done","item":{"id":"msg_2","type":"assistant_message"}}"#;

type Held = Result<RunBody<Script, NoObserver>, RunFailure>;

fn held(script: Script, policy: HoldPolicy) -> Held {
    now(hold(Watch::new(script, NoObserver), policy))
}

/// Tells how many frames of `events` are read before the status is fixed, if the last is no end.
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
        r#"{"type":"progress_update"}"#,
        r#"{"type":"thread.item.done","item":{"type":"widget"}}"#,
        r#"{"type":"thread.item.done","item":{"content":"Hello"}}"#,
        r#"{"type":"thread.item.added","item":{"role":"assistant","content":[]}}"#,
        r#"{"type":"some.future.event"}"#,
        // Broken off, so that nobody knows.
        r#"{"type":"#,
    ] {
        assert_eq!(frames_before_commit(&[CREATED, USER, OPTIONS, output], policy), 4, "{output}");
        assert_eq!(frames_before_commit(&[output], policy), 1, "{output}");
    }
    // What says nothing is no output, and neither is a title that was set.
    for nothing in [UPDATED, "[DONE]", "", "{}", r#"{"type":7}"#] {
        let events = [CREATED, USER, OPTIONS, nothing, ADDED];
        assert_eq!(frames_before_commit(&events, policy), 5, "{nothing}");
        for events in [&[CREATED, USER, OPTIONS, nothing][..], &[nothing]] {
            let failure = held(Script::text(events), policy).unwrap_err();
            assert!(matches!(failure.cause, RunFailureCause::Ended), "{nothing}");
            let told = events.len() - usize::from(nothing != UPDATED);
            assert_eq!(failure.events, told as u64, "{nothing}");
        }
    }
    // Nor what nobody sees, what is gone, and the user's message, whatever it is called.
    for nothing in [
        r#"{"type":"thread.item.added","item":{"type":"hidden_context_item"}}"#,
        r#"{"type":"thread.item.done","item":{"type":"end_of_turn"}}"#,
        r#"{"item":{"type":"sdk_hidden_context"},"type":"thread.item.replaced"}"#,
        r#"{"type":"thread.item.added","item":{"type":"user_message"}}"#,
        r#"{"type":"thread.item.done","item":{"content":[{"type":"input_text","text":"Hi"}]}}"#,
        r#"{"type":"thread.item.done","item":{"type":"message","role":"user","content":"Hi"}}"#,
        r#"{"type":"thread.item.removed","item_id":"x"}"#,
    ] {
        let events = [CREATED, USER, OPTIONS, nothing, ADDED];
        assert_eq!(frames_before_commit(&events, policy), 5, "{nothing}");
        let failure = held(Script::text(&events[..4]), policy).unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::Ended), "{nothing}");
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
    // An upstream saves a title that was set before it failed, and says so.
    for after in [&[][..], &[UPDATED], &["[DONE]"], &[ERROR, OPTIONS]] {
        let events = [&[CREATED, USER, OPTIONS, ERROR][..], after].concat();
        let cut = Script::text(&events).then(Step::Cut);
        let stalled = Script::text(&events).then(Step::Stall);
        for script in [Script::text(&events), cut, stalled] {
            let failure = hold(Watch::new(script, NoObserver), HoldPolicy::default()).await;
            let failure = failure.unwrap_err();
            let RunFailureCause::ErrorEvent(error) = failure.cause else { panic!("{failure:?}") };
            assert_eq!((&*error.code, error.message.as_deref()), ("custom", Some("No.")));
            assert!(error.allow_retry);
            assert_eq!(failure.preamble.thread_id.as_deref(), Some("thr_1"));
            assert_eq!(failure.preamble.user_message_id.as_deref(), Some("msg_1"));
            assert!(failure.events >= 4);
        }
    }
    // After output it is the client's to read.
    let frame = [event(ADDED), event(ERROR)].concat();
    assert!(held(Script::new([Step::Data(frame.into())]), HoldPolicy::default()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_error_event_that_output_follows_is_passed_on_with_it() {
    let policy = HoldPolicy::default();
    let events = [CREATED, ERROR, UPDATED, "[DONE]", ADDED];
    assert_eq!(frames_before_commit(&events, policy), 5);
    // Also if they come in one frame.
    let frame = [event(CREATED), event(ERROR), event(ADDED)].concat();
    assert!(held(Script::new([Step::Data(frame.into())]), policy).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_error_event_is_waited_for_a_quarter_of_a_second_at_most() {
    let ms = Duration::from_millis;
    // How long the hold may be, when the error comes, and how long it takes from then on.
    for (hold_for, error_at, wait) in
        [(5000, 0, 250), (5000, 4000, 250), (5000, 4900, 100), (100, 0, 100), (0, 0, 0)]
    {
        for (output_after, committed) in [(wait.max(1) - 1, wait > 0), (wait + 1, false)] {
            let (send, receive) = mpsc::unbounded_channel();
            let policy = HoldPolicy::default().with_hold_for(ms(hold_for));
            let holding = tokio::spawn(hold(Watch::new(Channel(receive), NoObserver), policy));
            send.send(event(CREATED)).unwrap();
            tokio::task::yield_now().await;
            tokio::time::sleep(ms(error_at)).await;
            send.send(event(ERROR)).unwrap();
            let begun = Instant::now();
            // Comments don't put it off.
            let output = tokio::spawn(async move {
                tokio::time::sleep(ms(output_after / 2)).await;
                let _gone = send.send(Bytes::from_static(b": ping\n\n"));
                tokio::time::sleep(ms(output_after - output_after / 2)).await;
                let _gone = send.send(event(ADDED));
                send.closed().await;
            });
            let held = holding.await.unwrap();
            assert_eq!(held.is_ok(), committed, "{hold_for} {error_at} {output_after}");
            let expected = if committed { output_after } else { wait };
            let took = begun.elapsed();
            assert!(took >= ms(expected) && took <= ms(expected + 2), "{took:?}, not {expected}");
            if let Err(failure) = held {
                assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)));
                // The body is given up at once.
                output.await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_an_error_event_never_hides_it() {
    let comment = Bytes::from(format!(": {}\n\n", "x".repeat(70_000)));
    let updated = format!(r#"{{"type":"thread.updated","x":"{}"}}"#, "x".repeat(70_000));
    for (flood, preamble_bytes) in [(comment, usize::MAX), (event(&updated), 70_000)] {
        let policy = HoldPolicy::default().with_preamble_bytes(preamble_bytes);
        let script = Script::new([data(CREATED), data(ERROR), Step::Data(flood), Step::Stall]);
        let begun = Instant::now();
        let failure = hold(Watch::new(script, NoObserver), policy).await.unwrap_err();
        assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)), "{failure:?}");
        assert!(begun.elapsed() <= Duration::from_millis(251));
    }
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
    let comment = Bytes::from_static(b": ping\n\n");
    let half = Bytes::from_static(b"data: {\"type\":\"thread.item.added\",\"item\":{\"id\":\"");
    for data in [comment, half] {
        let length = data.len();
        for (hold_bytes, frames) in
            [(0, 1), (1, 1), (length, 1), (length + 1, 2), (length * 2, 2), (length * 2 + 1, 3)]
        {
            let policy = HoldPolicy::default().with_hold_bytes(hold_bytes);
            let committed = |count| {
                let steps = std::iter::repeat_with(|| Step::Data(data.clone())).take(count);
                held(Script::new(steps).then(Step::Cut), policy).is_ok()
            };
            assert!(committed(frames) && !committed(frames - 1), "{hold_bytes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_preamble_does_not_count_but_has_a_bound_of_its_own() {
    let text = "x".repeat(70_000);
    let user = [
        format!(
            r#"{{"type":"thread.item.done","item":{{"id":"msg_1","type":"user_message","quoted_text":"{text}"}}}}"#
        ),
        // What it is comes last.
        format!(
            r#"{{"item":{{"quoted_text":"{text}","type":"user_message","id":"msg_1"}},"type":"thread.item.done"}}"#
        ),
    ];
    let error = format!(r#"{{"type":"error","code":"custom","message":"{text}"}}"#);
    let updated = format!(r#"{{"type":"thread.updated","thread":{{"id":"thr_1","x":"{text}"}}}}"#);
    let replaced = format!(
        r#"{{"type":"thread.item.replaced","item":{{"type":"client_tool_call","output":"{text}"}}}}"#
    );
    for user in user {
        let events = [CREATED, &user, &updated, &replaced, &error].map(event).concat();
        for size in [events.len(), 16_384, 1000] {
            let frames: Vec<_> = events.chunks(size).map(Bytes::copy_from_slice).collect();
            let failure = held(Script::frames(&frames), HoldPolicy::default()).unwrap_err();
            assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)), "{size}");

            // Unless the error is known by the time that it is too much.
            let policy = HoldPolicy::default().with_preamble_bytes(200_000);
            let committed = held(Script::frames(&frames), policy).is_ok();
            assert_eq!(committed, size < events.len(), "{size}");
        }
    }
    // Crumbs cost more than their bytes, and count for that.
    let crumbs = CREATED.bytes().map(|byte| Bytes::from(vec![byte]));
    let policy = HoldPolicy::default().with_preamble_bytes(1000);
    let begun = std::iter::once(Bytes::from_static(b"data: ")).chain(crumbs).collect::<Vec<_>>();
    assert!(held(Script::frames(&begun).then(Step::Cut), policy).is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_a_hold_the_preamble_commits() {
    let policy = HoldPolicy::default().with_hold_for(Duration::ZERO);
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
    let policy = HoldPolicy::default().with_hold_for(Duration::from_secs(5));
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
