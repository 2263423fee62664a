//! The streams of an HTTP/2 connection, watched.
//!
//! A client gives each stream a window, and the connection one more, and nothing goes out beyond
//! them. A body isn't asked for more meanwhile, so it can't tell that it waits; and what the server
//! has taken from it may be in a buffer of the protocol's. So each [`BodyPiece`] of a body counts what
//! of it is written, and the connection looks at the counts when its timer fires. A stream whose
//! client takes too little loses its task: with it go its body and what that holds, and the client
//! is sent a `RST_STREAM`.

use std::future::Future;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::Executor;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::frames::SeenFrames;

/// Bytes that a client must take in a write time-out while that many or more wait for it, or all
/// that do.
pub(super) const LEAST_TAKEN: u64 = 1024;

/// A body of so many bytes in all may be over before it is written, if the client's windows have
/// room for it: then it is over at once, and takes no more than this of memory.
pub(super) const SMALL_BODY_BYTES: usize = 16 * 1024;

/// What a stream may be sent before the others have their turn: a frame, or what is in its buffer.
const TURN_BYTES: u64 = 64 * 1024;

/// For how long too little has been taken of what waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WriteClock {
    since: Option<Instant>,
    /// What had been taken by then.
    taken: u64,
}

impl WriteClock {
    /// Tells for how long it has been slow. `taken` counts all that was ever taken. `caught_up`:
    /// since the last call nothing was left for a moment, so what waits now has been waiting for
    /// less long.
    pub(super) fn slow_for(
        &mut self,
        waits: bool,
        caught_up: bool,
        taken: u64,
        now: Instant,
    ) -> Duration {
        match self.since {
            Some(since)
                if waits && !caught_up && taken.saturating_sub(self.taken) < LEAST_TAKEN =>
            {
                now - since
            }
            _ => {
                *self = Self { since: waits.then_some(now), taken };
                Duration::ZERO
            }
        }
    }
}

/// The open streams of a connection, and what there is to know of them together.
#[derive(Debug, Default)]
pub(super) struct Streams {
    table: Mutex<Table>,
    /// How many heads have begun.
    heads: AtomicU64,
    /// Bytes that the client lets the connection carry in all.
    connection_window: AtomicU64,
    /// Bytes that it lets every stream carry.
    stream_window: AtomicU64,
    /// Bytes of bodies that were given away and not lost.
    handed: AtomicU64,
    /// Those of them that are written.
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Option<StreamRow>>,
    free: Vec<usize>,
    /// Its task is yet to begin.
    newest: Option<usize>,
}

#[derive(Debug)]
struct StreamRow {
    stream: Arc<StreamState>,
    clock: WriteClock,
    /// What had been written of all bodies when the clock began.
    sent: u64,
    task: Option<AbortHandle>,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        let streams = Self::default();
        streams.saw(&SeenFrames::default());
        Arc::new(streams)
    }

    /// Notes what the client's frames have told.
    pub(super) fn saw(&self, seen: &SeenFrames) {
        self.heads.store(seen.heads, Ordering::Relaxed);
        self.connection_window.store(seen.connection_window, Ordering::Relaxed);
        self.stream_window.store(seen.stream_window, Ordering::Relaxed);
    }

    /// Tells how many heads have begun.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    /// Gives the bytes that the client lets the connection carry now.
    pub(super) fn window(&self) -> u64 {
        self.connection_window.load(Ordering::Relaxed).saturating_sub(self.sent())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the bytes of bodies that are written so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the streams of which too little was taken for `write_timeout`, unless others had their
    /// turn and the client took enough for all. Whether any waits.
    pub(super) fn cut_slow(&self, now: Instant, write_timeout: Duration) -> bool {
        let mut table = self.table();
        let waiting = table.rows.iter().flatten().filter(|row| row.stream.waits()).count() as u64;
        let sent = self.sent();
        for row in table.rows.iter_mut().flatten() {
            let stream = &row.stream;
            let caught_up = stream.caught_up.swap(false, Ordering::Relaxed);
            let taken = stream.taken.load(Ordering::Relaxed);
            let slow = row.clock.slow_for(stream.waits(), caught_up, taken, now);
            if slow.is_zero() {
                row.sent = sent;
            }
            if slow >= write_timeout
                && !is_in_line(sent.saturating_sub(row.sent), waiting, slow, write_timeout)
                && let Some(task) = row.task.take()
            {
                tracing::debug!("the client took too little of a stream: it is cut");
                task.abort();
            }
        }
        waiting > 0
    }

    /// Begins a stream. Its task is the next one that [`StreamTasks`] is given.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<StreamState> {
        let mut table = self.table();
        let row = table.free.pop().unwrap_or(table.rows.len());
        let stream = Arc::new(StreamState {
            all: Arc::clone(self),
            row,
            handed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            caught_up: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            waiting: Mutex::new(None),
        });
        let begun = StreamRow {
            stream: Arc::clone(&stream),
            clock: WriteClock::default(),
            sent: 0,
            task: None,
        };
        match table.rows.get_mut(row) {
            Some(free) => *free = Some(begun),
            None => table.rows.push(Some(begun)),
        }
        table.newest = Some(row);
        stream
    }
}

/// Tells whether a stream that has been `slow` for so long may not have had its turn: less was sent
/// meanwhile than the others that wait may have before it. The client must take as much as is due
/// for all of them, so that many streams are held by nobody who couldn't hold each.
fn is_in_line(sent: u64, waiting: u64, slow: Duration, write_timeout: Duration) -> bool {
    let due = u128::from(waiting.saturating_mul(LEAST_TAKEN)) * slow.as_millis();
    sent < waiting.saturating_sub(1).saturating_mul(TURN_BYTES)
        && u128::from(sent) * write_timeout.as_millis() >= due
}

/// What is known of a stream without asking it.
#[derive(Debug)]
pub(super) struct StreamState {
    all: Arc<Streams>,
    row: usize,
    /// Bytes that the body has given away.
    handed: AtomicU64,
    /// Those of them that are written, or never will be.
    taken: AtomicU64,
    /// All were, at some time since the connection looked.
    caught_up: AtomicBool,
    /// Whether `waiting` is to be told when all are.
    awaited: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl StreamState {
    /// Gives a piece of the stream's body, which is given away now.
    pub(super) fn piece(self: &Arc<Self>, bytes: Bytes) -> BodyPiece {
        let length = bytes.len() as u64;
        self.handed.fetch_add(length, Ordering::Relaxed);
        self.all.handed.fetch_add(length, Ordering::Relaxed);
        BodyPiece { bytes, stream: Some(Arc::clone(self)) }
    }

    /// Tells whether the client's windows are known to have room for all that was given away. They
    /// may have though it isn't known: where a stream was opened further.
    fn has_room(&self) -> bool {
        let windows = &self.all;
        self.handed.load(Ordering::Relaxed) <= windows.stream_window.load(Ordering::Relaxed)
            && windows.handed.load(Ordering::Relaxed)
                <= windows.connection_window.load(Ordering::Relaxed)
    }

    /// Tells whether the body's end may come before what was given away is written. The client can
    /// take a window back, and needn't read: then who is over holds memory without a place or a
    /// clock.
    pub(super) fn may_end(&self) -> bool {
        self.handed.load(Ordering::Relaxed) <= SMALL_BODY_BYTES as u64 && self.has_room()
    }

    /// Resolves when all that was given away is written, or never will be.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waits() {
            return Poll::Ready(());
        }
        *self.waiting() = Some(cx.waker().clone());
        self.awaited.store(true, Ordering::SeqCst);
        // It may have been written before anybody was asked to tell.
        if self.waits() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Notes that its request is done with.
    pub(super) fn end(&self) {
        let mut table = self.all.table();
        if let Some(row) = table.rows.get_mut(self.row) {
            let row = row.take();
            table.free.push(self.row);
            drop(table);
            drop(row);
        }
    }

    fn waits(&self) -> bool {
        self.taken.load(Ordering::SeqCst) < self.handed.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: usize) {
        let bytes = bytes as u64;
        let taken = self.taken.fetch_add(bytes, Ordering::SeqCst) + bytes;
        if taken == self.handed.load(Ordering::Relaxed) {
            self.caught_up.store(true, Ordering::Relaxed);
            if self.awaited.load(Ordering::SeqCst)
                && let Some(waker) = self.waiting().take()
            {
                waker.wake();
            }
        }
    }
}

/// Bytes of a body, on their way to the client.
#[derive(Debug)]
pub(super) struct BodyPiece {
    bytes: Bytes,
    /// `None` on HTTP/1, where the socket tells all there is to know.
    stream: Option<Arc<StreamState>>,
}

impl BodyPiece {
    /// Makes a piece of a connection that carries one response at a time.
    pub(super) fn unwatched(bytes: Bytes) -> Self {
        Self { bytes, stream: None }
    }

    /// Takes the last byte back, unless it is the only one: it isn't given away any longer.
    pub(super) fn split_last(&mut self) -> Option<Bytes> {
        let at = self.bytes.len().checked_sub(1).filter(|at| *at > 0)?;
        if let Some(stream) = &self.stream {
            stream.handed.fetch_sub(1, Ordering::Relaxed);
            stream.all.handed.fetch_sub(1, Ordering::Relaxed);
        }
        Some(self.bytes.split_off(at))
    }
}

impl Buf for BodyPiece {
    #[inline]
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    #[inline]
    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(stream) = &self.stream {
            stream.all.sent.fetch_add(count as u64, Ordering::Relaxed);
            stream.take(count);
        }
    }
}

impl Drop for BodyPiece {
    fn drop(&mut self) {
        // The stream was reset, or the connection has ended.
        if let Some(stream) = &self.stream
            && !self.bytes.is_empty()
        {
            stream.all.handed.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
            stream.take(self.bytes.len());
        }
    }
}

/// Runs each stream of a connection as a task that [`Streams`] can end.
#[derive(Clone)]
pub(super) struct StreamTasks(pub(super) Arc<Streams>);

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future).abort_handle();
        let mut table = self.0.table();
        // hyper asks for a stream's task right after it has called the service for it. What else
        // it might ask for, the task of an upgrade, needs an answer to CONNECT that nobody gives.
        let newest = table.newest.take();
        if let Some(row) = newest.and_then(|row| table.rows.get_mut(row)).and_then(Option::as_mut) {
            row.task = Some(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_who_takes_less_than_they_must_of_what_waits_is_slow() {
        let second = Duration::from_secs(1);
        let mut clock = WriteClock::default();
        let mut at = Instant::now();
        let mut look = |waits, caught_up, taken| {
            at += second;
            clock.slow_for(waits, caught_up, taken, at)
        };
        // Nothing waits, for however long.
        assert_eq!(look(false, false, 0), Duration::ZERO);
        assert_eq!(look(false, false, 0), Duration::ZERO);
        // Bytewise is too little, for all the time that it goes on.
        assert_eq!(look(true, false, 1), Duration::ZERO);
        assert_eq!(look(true, false, 2), second);
        assert_eq!(look(true, false, 1024), 2 * second);
        assert_eq!(look(true, false, 1025), Duration::ZERO);
        assert_eq!(look(true, false, 1026), second);
        // All was taken, and something else waits by now.
        assert_eq!(look(true, true, 1030), Duration::ZERO);
        assert_eq!(look(true, false, 1030), second);
        assert_eq!(look(false, true, 1031), Duration::ZERO);
        assert_eq!(look(true, false, 1031), Duration::ZERO);
    }

    #[test]
    fn a_piece_tells_what_is_written_of_it() {
        let streams = Streams::new();
        let stream = streams.begin();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stream.poll_taken(&mut cx).is_ready());
        let mut piece = stream.piece(Bytes::from_static(b"12345"));
        let lost = stream.piece(Bytes::from_static(b"678"));
        assert!(stream.poll_taken(&mut cx).is_pending());
        piece.advance(2);
        assert_eq!(piece.chunk(), b"345");
        piece.advance(3);
        assert!(stream.poll_taken(&mut cx).is_pending());
        assert_eq!(streams.sent(), 5);
        drop(piece);
        assert!(stream.waits());
        // What is dropped is not waited for, and was not sent.
        drop(lost);
        assert!(stream.poll_taken(&mut cx).is_ready());
        assert_eq!(streams.sent(), 5);
    }

    #[test]
    fn there_is_room_only_where_both_windows_have_it() {
        let streams = Streams::new();
        streams.saw(&SeenFrames {
            stream_window: 6,
            connection_window: 10,
            ..SeenFrames::default()
        });
        let (one, other) = (streams.begin(), streams.begin());
        let mut first = one.piece(Bytes::from_static(b"12345"));
        assert!(one.has_room());
        let second = other.piece(Bytes::from_static(b"12345"));
        assert!(other.has_room());
        let third = one.piece(Bytes::from_static(b"6"));
        assert!(!one.has_room() && !other.has_room());
        // What is lost leaves room on the connection, and what is written doesn't.
        first.advance(5);
        assert!(!other.has_room());
        drop(third);
        assert!(other.has_room());
        assert_eq!(streams.window(), 5);
        drop(second);
        let _fourth = one.piece(Bytes::from_static(b"7"));
        assert!(!one.has_room() && other.has_room());
    }

    #[test]
    fn the_last_byte_of_a_piece_is_counted_when_it_is_given_away() {
        let streams = Streams::new();
        let stream = streams.begin();
        let mut piece = stream.piece(Bytes::from_static(b"123"));
        let last = piece.split_last().unwrap();
        assert_eq!((piece.chunk(), &last[..]), (&b"12"[..], &b"3"[..]));
        piece.advance(2);
        assert!(!stream.waits());
        let mut last = stream.piece(last);
        assert!(stream.waits());
        assert!(last.split_last().is_none());
        last.advance(1);
        assert!(!stream.waits());
        assert_eq!(streams.sent(), 3);
        assert!(stream.piece(Bytes::new()).split_last().is_none());
    }

    #[test]
    fn only_a_small_body_may_end_before_it_is_written() {
        let streams = Streams::new();
        let window = 1 << 31;
        streams.saw(&SeenFrames {
            stream_window: window,
            connection_window: window,
            ..SeenFrames::default()
        });
        let stream = streams.begin();
        let _small = stream.piece(Bytes::from_static(&[0; 16 * 1024]));
        assert!(stream.may_end());
        let _more = stream.piece(Bytes::from_static(b"1"));
        assert!(stream.has_room() && !stream.may_end());
    }

    type Held = Vec<tokio::sync::oneshot::Receiver<()>>;

    /// Streams with tasks that never end, and what tells when they are ended.
    fn running(all: &Arc<Streams>, count: usize) -> (Vec<Arc<StreamState>>, Held) {
        let tasks = StreamTasks(Arc::clone(all));
        let begin = |_| {
            let stream = all.begin();
            let (kept, holds) = tokio::sync::oneshot::channel();
            tasks.execute(async move {
                let _kept = kept;
                std::future::pending::<()>().await;
            });
            (stream, holds)
        };
        (0..count).map(begin).unzip()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_enough_for_all_may_take_one_after_the_other() {
        let second = Duration::from_secs(1);
        let write_timeout = 4 * second;
        // What is taken of the first in each second, and when the others are cut.
        for (taken, cut_at) in [
            // As if the connection were slow: the others had no turn.
            (1024, None),
            // Too little for three.
            (700, Some(4)),
            // The others had their turns, and their windows were shut.
            (16 * 1024, Some(8)),
            (1 << 20, Some(4)),
        ] {
            let all = Streams::new();
            let (streams, mut held) = running(&all, 3);
            let mut first = streams[0].piece(Bytes::from(vec![0; 16 << 20]));
            let _others = [&streams[1], &streams[2]].map(|it| it.piece(Bytes::from(vec![0; 2048])));
            let begun = Instant::now();
            let mut cut = None;
            for n in 0..16 {
                all.cut_slow(begun + second * n, write_timeout);
                tokio::task::yield_now().await;
                let mut is_cut = held.iter_mut().map(|held| {
                    held.try_recv() != Err(tokio::sync::oneshot::error::TryRecvError::Empty)
                });
                let which: [bool; 3] = std::array::from_fn(|_| is_cut.next().unwrap());
                if which != [false; 3] {
                    assert_eq!(which, [false, true, true]);
                    cut = Some(n);
                    break;
                }
                first.advance(taken);
            }
            assert_eq!(cut, cut_at, "{taken}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_stream_is_ended_alone() {
        let all = Streams::new();
        let (streams, mut held) = running(&all, 2);
        let second = Duration::from_secs(1);
        let _waits = streams[0].piece(Bytes::from_static(b"1"));
        drop(streams[1].piece(Bytes::from_static(b"1")));
        let now = Instant::now();
        assert!(all.cut_slow(now, second));
        assert!(all.cut_slow(now + second / 2, second));
        tokio::task::yield_now().await;
        assert!(held.iter_mut().all(|holds| holds.try_recv().is_err()));
        assert!(all.cut_slow(now + second, second));
        held.remove(0).await.unwrap_err();
        assert_eq!(held[0].try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));

        // The place in the table is the next one's.
        streams[0].end();
        assert_eq!(all.begin().row, 0);
        assert_eq!(all.begin().row, 2);
    }
}
