//! The stream room: the watcher and the hold.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use chatkit_rest::stream::{
    Binding, End, Event, HoldPolicy, NoObserver, RunBody, RunObserver, Watch, hold,
};
use http_body::{Body, Frame};

/// Checks that however a stream is cut into frames, the same frames come out, the observer is told
/// the same, and ends once; and the hold decides the same, and loses nothing where it commits.
///
/// The first eight bytes say where it is cut, the rest is the stream.
pub fn stream(data: &[u8]) {
    let Some((cuts, stream)) = data.split_at_checked(8) else { return };
    let stream = Bytes::copy_from_slice(stream);
    let whole = vec![stream.clone()];
    let pieces = pieces(&stream, cuts);
    let bytes: Vec<Bytes> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();

    let told = watched(&whole);
    assert_eq!(told, watched(&pieces), "what was told, whole and in pieces");
    assert_eq!(told, watched(&bytes), "what was told, whole and byte by byte");

    let committed = held(&whole);
    assert_eq!(committed, held(&pieces), "the hold's verdict, whole and in pieces");
}

fn pieces(stream: &Bytes, cuts: &[u8]) -> Vec<Bytes> {
    let mut places: Vec<usize> =
        cuts.iter().map(|&cut| stream.len() * usize::from(cut) / 255).collect();
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

/// Passes `frames` through a watch, and gives back what its observer was told.
fn watched(frames: &[Bytes]) -> Vec<String> {
    let told = Told::default();
    let mut body = pin!(RunBody::unheld(Watch::new(Frames::of(frames), told.clone())));
    let out = drain(|cx| body.as_mut().poll_frame(cx).map_err(drop));
    assert_same_frames(&out, frames);
    let told = std::mem::take(&mut *told.0.lock().expect("no panic before"));
    let ends = told.iter().filter(|said| said.starts_with("ended")).count();
    assert_eq!(ends, 1, "{told:?}");
    told
}

/// Tells whether the hold commits.
fn held(frames: &[Bytes]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let watch = Watch::new(Frames::of(frames), NoObserver);
    match runtime.block_on(hold(watch, HoldPolicy::default())) {
        Ok(body) => {
            let mut body = pin!(body);
            let out = drain(|cx| body.as_mut().poll_frame(cx).map_err(drop));
            assert_same_frames(&out, frames);
            true
        }
        Err(_) => false,
    }
}

fn drain(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>>,
) -> Vec<Bytes> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut frames = Vec::new();
    loop {
        match poll(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frames.extend(frame.into_data()),
            Poll::Ready(Some(Err(()))) => panic!("a clean stream ended badly"),
            Poll::Ready(None) => return frames,
            Poll::Pending => panic!("a body stalls that has all it needs"),
        }
    }
}

/// Expects the very same memory, in the same pieces.
fn assert_same_frames(out: &[Bytes], sent: &[Bytes]) {
    let places = |frames: &[Bytes]| -> Vec<_> {
        frames.iter().map(|frame| (frame.as_ptr(), frame.len())).collect()
    };
    assert_eq!(places(out), places(sent), "frames were changed");
}

/// A body of frames that are all there.
struct Frames(VecDeque<Bytes>);

impl Frames {
    fn of(frames: &[Bytes]) -> Self {
        Self(frames.iter().cloned().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|frame| Ok(Frame::data(frame))))
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn tell(&self, said: String) {
        self.0.lock().expect("no panic before").push(said);
    }
}

impl RunObserver for Told {
    fn thread_created(&mut self, thread_id: &str) -> Option<Binding> {
        self.tell(format!("created {thread_id:?}"));
        None
    }

    fn event(&mut self, event: Event<'_>) {
        self.tell(format!("{event:?}"));
    }

    fn ended(&mut self, end: End) {
        self.tell(format!("ended {end:?}"));
    }
}
