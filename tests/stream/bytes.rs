//! Bytes: what goes in comes out, as the very same frames.

use bytes::Bytes;
use chatkit_rest::stream::{HoldPolicy, NoObserver, RunBody, RunFailureCause, Watch, hold};
use proptest::prelude::*;

use crate::events::{expected, stream};
use crate::support::{Recorder, Script, Step, Told, assert_same_frames, cut, cuts, drain, now};

/// Naps between the frames, where `naps` says so.
fn script(frames: &[Bytes], naps: u32) -> Script {
    let mut steps = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if naps.rotate_right(u32::try_from(index).unwrap()) & 1 == 1 {
            steps.push(Step::Nap);
        }
        steps.push(Step::Data(frame.clone()));
    }
    Script::new(steps)
}

proptest! {
    #[test]
    fn a_watched_body_is_the_same_body(stream in stream(), cuts in cuts(), naps in any::<u32>()) {
        let frames = cut(&stream, &cuts);
        let (out, end) = drain(Watch::new(script(&frames, naps), Recorder::default()));
        assert_same_frames(&out, &frames);
        prop_assert!(end.is_ok());

        let (out, _) = drain(RunBody::unheld(Watch::new(script(&frames, naps), NoObserver)));
        assert_same_frames(&out, &frames);
    }

    // Whenever the hold commits, whatever it held leaves first and untouched.
    #[test]
    fn a_held_body_is_the_same_body(
        stream in stream(),
        cuts in cuts(),
        naps in any::<u32>(),
        hold_bytes in 0_usize..600,
    ) {
        let frames = cut(&stream, &cuts);
        let policy = HoldPolicy::default().with_hold_bytes(hold_bytes);
        let watch = Watch::new(script(&frames, naps), NoObserver);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        match runtime.block_on(hold(watch, policy)) {
            Ok(body) => {
                let (out, end) = drain(body);
                assert_same_frames(&out, &frames);
                prop_assert!(end.is_ok());
            }
            Err(failure) if matches!(failure.cause, RunFailureCause::Ended) => {
                // The preamble doesn't count, but where nothing may be held nothing is.
                prop_assert!(hold_bytes > 0 || stream.is_empty());
            }
            Err(_) => {
                let says_so = |told: &Told| matches!(told, Told::Event(f) if f.error.is_some());
                prop_assert!(expected(&stream).iter().any(says_so));
            }
        }
    }

    #[test]
    fn a_cut_stream_gives_all_that_came_and_then_the_error(stream in stream(), cuts in cuts()) {
        let frames = cut(&stream, &cuts);
        let watch = Watch::new(Script::frames(&frames).then(Step::Cut), NoObserver);
        let (out, end) = drain(RunBody::unheld(watch));
        assert_same_frames(&out, &frames);
        prop_assert_eq!(end.unwrap_err().to_string(), "cut");
    }
}

#[test]
fn an_error_is_given_after_a_pause_so_that_a_server_flushes_first() {
    use std::task::{Context, Poll, Waker};

    use http_body::Body as _;

    let script = Script::text(&[r#"{"type":"thread.item.added"}"#]).then(Step::Cut);
    let mut body =
        Box::pin(now(hold(Watch::new(script, NoObserver), HoldPolicy::default())).unwrap());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    assert!(body.as_mut().poll_frame(&mut cx).is_pending());
    assert!(!body.is_end_stream());
    assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Err(_)))));
    assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(None)));
    assert!(body.is_end_stream());
}
