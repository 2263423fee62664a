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

/// Gives the two events in frames that are cut at `first` and at `second`.
fn frames(names: &str, first: usize, second: usize) -> Vec<Bytes> {
    let stream = Bytes::from([event(names), event(DELTA)].concat());
    vec![stream.slice(..first), stream.slice(first..second), stream.slice(second..)]
}

// Not a byte of the id that completes it leaves before it is stored, or looked at, wherever frames
// begin.
#[test]
fn no_frame_shows_the_whole_id_before_it_is_known() {
    for (event, told) in [
        (CREATED.to_owned(), Told::Created("thr_1".to_owned())),
        (CREATED.replace("created", "updated"), Told::Named("thr_1".to_owned())),
    ] {
        no_frame_shows_the_id_of(&event, &told);
    }
}

fn no_frame_shows_the_id_of(names: &str, told: &Told) {
    let end_of_id = event(names).windows(5).position(|bytes| bytes == b"thr_1").unwrap() + 5;
    let length = event(names).len() + event(DELTA).len();
    for first in 0..=length {
        for second in first..=length {
            let (gate, recorder) = waiting();
            let sent = frames(names, first, second);
            let mut body = Box::pin(Watch::new(Script::frames(&sent), recorder.clone()));
            let mut cx = Context::from_waker(Waker::noop());
            let mut out = 0;
            while let Poll::Ready(frame) = body.as_mut().poll_frame(&mut cx) {
                out += frame.unwrap().unwrap().into_data().unwrap().len();
            }
            assert!(out <= end_of_id, "{out} bytes left with frames at {first} and {second}");
            // And no more was kept than the frame that shows it.
            assert!(first > end_of_id || second > end_of_id || out == second);
            assert_eq!(recorder.told()[0], *told);

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
    assert_eq!(recorder.end(), Some(End::Unbound));

    let (gate, recorder) = waiting();
    gate.open(Err(()));
    let watch = Watch::new(Script::text(&[CREATED, DELTA]), recorder.clone());
    let failure = now(hold(watch, HoldPolicy::default())).unwrap_err();
    assert!(
        matches!(failure.cause, RunFailureCause::Broken(error) if error.to_string() == "not stored")
    );
    assert_eq!(failure.preamble.thread_id.as_deref(), Some("thr_1"));
    assert_eq!(recorder.end(), Some(End::Unbound));
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

// Whatever came before it: only its observer knows which thread is whose.
#[test]
fn each_new_thread_is_told_of_once_and_bound_before_it_is_seen() {
    const ANOTHER: &str = r#"{"thread":{"id":"thr_2"},"type":"thread.created"}"#;
    let created = |recorder: &Recorder| {
        let of = |told: &Told| matches!(told, Told::Created(_));
        recorder.told().into_iter().filter(of).collect::<Vec<_>>()
    };
    let both = [Told::Created("thr_1".to_owned()), Told::Created("thr_2".to_owned())];
    let apart = [event(CREATED), event(DELTA), event(ANOTHER), event(DELTA)];
    let together = [Bytes::from(apart.concat())];
    for (frames, seen) in [(&apart[..], 2), (&together, 0)] {
        for failing in 0..3 {
            let bindings = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let done = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let (counted, counts) = (bindings.clone(), done.clone());
            let recorder = Recorder::binding(move || {
                let n = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let done = counts.clone();
                Box::pin(async move {
                    done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if n == failing { Err(format!("not stored {n}").into()) } else { Ok(()) }
                })
            });
            let (out, end) = drain(Watch::new(Script::frames(frames), recorder.clone()));
            if failing == 2 {
                assert_eq!((out.len(), end.is_ok()), (frames.len(), true));
            } else {
                assert_eq!(end.unwrap_err().to_string(), format!("not stored {failing}"));
                assert_eq!(out.len(), if failing == 0 { 0 } else { seen });
                assert_eq!(recorder.end(), Some(End::Unbound));
            }
            // With the first one failed, the rest of its frame is looked at all the same.
            let told = if failing == 0 && frames.len() > 1 { &both[..1] } else { &both[..] };
            assert_eq!(created(&recorder), told);
            assert_eq!(done.load(std::sync::atomic::Ordering::SeqCst), told.len());
        }
    }
}

#[test]
fn the_first_new_thread_is_the_runs() {
    const ANOTHER: &str = r#"{"type":"thread.created","thread":{"id":"thr_2"}}"#;
    let frames = Script::text(&[CREATED, ANOTHER]).then(Step::Cut);
    let failure = now(hold(Watch::new(frames, Recorder::default()), HoldPolicy::default()));
    assert_eq!(failure.unwrap_err().preamble.thread_id.as_deref(), Some("thr_1"));
}
