//! A new thread's id is stored before the client sees it.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chatkit_rest::stream::{End, HoldPolicy, RunFailureCause, Watch, hold};
use http_body::Body as _;

use crate::support::{Gate, Recorder, Script, Step, Told, drain, event, now};

const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"thr_1","title":"A title"}}"#;
const DELTA: &str = r#"{"type":"thread.item.updated","item_id":"msg_2"}"#;

fn waiting() -> (Gate, Recorder) {
    let gate = Gate::default();
    let recorder = Recorder::binding({
        let gate = gate.clone();
        move || gate.binding()
    });
    (gate, recorder)
}

/// The two events in frames that are cut at `first` and at `second`.
fn frames(first: usize, second: usize) -> Vec<Bytes> {
    let stream = Bytes::from([event(CREATED), event(DELTA)].concat());
    vec![stream.slice(..first), stream.slice(first..second), stream.slice(second..)]
}

/// Not a byte of the id that completes it leaves before it is stored, wherever frames begin.
#[test]
fn no_frame_shows_the_whole_id_before_it_is_stored() {
    let end_of_id = event(CREATED).windows(5).position(|bytes| bytes == b"thr_1").unwrap() + 5;
    let length = event(CREATED).len() + event(DELTA).len();
    for first in 0..=length {
        for second in first..=length {
            let (gate, recorder) = waiting();
            let sent = frames(first, second);
            let mut body = Box::pin(Watch::new(Script::frames(&sent), recorder.clone()));
            let mut cx = Context::from_waker(Waker::noop());
            let mut out = 0;
            while let Poll::Ready(frame) = body.as_mut().poll_frame(&mut cx) {
                out += frame.unwrap().unwrap().into_data().unwrap().len();
            }
            assert!(out <= end_of_id, "{out} bytes left with frames at {first} and {second}");
            // And no more was kept than the frame that shows it.
            assert!(first > end_of_id || second > end_of_id || out == second);
            assert_eq!(recorder.told()[0], Told::Created("thr_1".to_owned()));

            gate.open(Ok(()));
            let (rest, end) = drain_pinned(body);
            assert_eq!(out + rest, length);
            assert!(end.is_ok());
            assert_eq!(recorder.end(), Some(End::Complete));
        }
    }
}

fn drain_pinned(
    mut body: std::pin::Pin<Box<Watch<Script, Recorder>>>,
) -> (usize, Result<(), chatkit_rest::error::BoxError>) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut bytes = 0;
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => bytes += frame.into_data().unwrap().len(),
            Poll::Ready(Some(Err(error))) => return (bytes, Err(error)),
            Poll::Ready(None) => return (bytes, Ok(())),
            Poll::Pending => panic!("still waiting"),
        }
    }
}

#[test]
fn an_id_that_cannot_be_stored_ends_the_stream_unseen() {
    let (gate, recorder) = waiting();
    gate.open(Err(()));
    let (out, end) = drain(Watch::new(Script::text(&[CREATED, DELTA]), recorder.clone()));
    assert!(out.is_empty());
    assert_eq!(end.unwrap_err().to_string(), "not stored");
    assert_eq!(recorder.end(), Some(End::Cancelled));

    let (gate, recorder) = waiting();
    gate.open(Err(()));
    let watch = Watch::new(Script::text(&[CREATED, DELTA]), recorder.clone());
    let failure = now(hold(watch, HoldPolicy::default())).unwrap_err();
    assert!(
        matches!(failure.cause, RunFailureCause::Broken(error) if error.to_string() == "not stored")
    );
    assert_eq!(failure.preamble.thread_id.as_deref(), Some("thr_1"));
    assert_eq!(recorder.end(), Some(End::Cancelled));
}

#[tokio::test]
async fn the_binding_wakes_the_stream() {
    let (gate, recorder) = waiting();
    let watch = Watch::new(Script::text(&[CREATED, DELTA]).then(Step::Nap), recorder);
    let reading = tokio::spawn(async move {
        let mut watch = Box::pin(watch);
        std::future::poll_fn(|cx| watch.as_mut().poll_frame(cx)).await.unwrap().unwrap()
    });
    tokio::task::yield_now().await;
    assert!(!reading.is_finished());
    gate.open(Ok(()));
    assert_eq!(reading.await.unwrap().into_data().unwrap(), event(CREATED));
}

#[test]
fn only_the_first_new_thread_is_bound() {
    let bindings = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = bindings.clone();
    let recorder = Recorder::binding(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    });
    let (out, _) = drain(Watch::new(Script::text(&[CREATED, CREATED, DELTA]), recorder.clone()));
    assert_eq!(out.len(), 3);
    assert_eq!(bindings.load(std::sync::atomic::Ordering::SeqCst), 1);
    let created = recorder.told().iter().filter(|told| matches!(told, Told::Created(_))).count();
    assert_eq!(created, 1);
}
