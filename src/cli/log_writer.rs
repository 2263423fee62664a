//! Log lines on their way to standard error, many in one write.
//!
//! A line for each request would be a system call for each request, made by a thread that
//! serves others meanwhile, and a slow reader of the log would stop them all. Lines are
//! collected instead, and a thread of their own writes what has come, at once when nothing
//! came before and every ten milliseconds under load. What can't be kept is counted, and the
//! count is logged.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long lines are collected under load.
const PAUSE: Duration = Duration::from_millis(10);

/// The most bytes that wait to be written.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// Takes lines. Cloning is a reference count.
#[derive(Clone, Debug)]
pub(super) struct LogWriter(Arc<Shared>);

/// Writes what is left when it is dropped.
#[derive(Debug)]
#[must_use = "log lines are written as long as this lives"]
pub(crate) struct LogGuard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    lines: Condvar,
    closing: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    /// The thread waits for lines: whoever brings one must wake it.
    idle: bool,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut out: impl Write) {
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && !state.closed {
                state.idle = true;
                state = self.lines.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle = false;
            let lines = std::mem::take(&mut state.waiting);
            let dropped = std::mem::take(&mut state.dropped);
            let closed = state.closed;
            drop(state);
            // With nobody to read it there is nowhere to say so.
            let _ = out.write_all(&lines);
            if dropped > 0 {
                let _ =
                    writeln!(out, "{dropped} log lines were dropped: nothing took them in time");
            }
            if closed {
                let _ = out.flush();
                return;
            }
            let state = self.state();
            if !state.closed {
                drop(self.closing.wait_timeout(state, PAUSE));
            }
        }
    }
}

/// Starts to write to `out`.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(LogWriter, LogGuard)> {
    let shared = Arc::new(Shared::default());
    let writing = Arc::clone(&shared);
    let thread =
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_all(out))?;
    let guard = LogGuard { shared: Arc::clone(&shared), thread: Some(thread) };
    Ok((LogWriter(shared), guard))
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.lines.notify_one();
        self.shared.closing.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.waiting.len() + line.len() > MAX_WAITING_BYTES {
            state.dropped += 1;
            return Ok(line.len());
        }
        state.waiting.extend_from_slice(line);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.0.lines.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_before_the_guard_is_gone() {
        let out = Out::default();
        let (writer, guard) = start(out.clone()).unwrap();
        let mut expected = String::new();
        for n in 0..1000 {
            let line = format!("line {n}\n");
            (&writer).write_all(line.as_bytes()).unwrap();
            expected.push_str(&line);
        }
        drop(guard);
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_counted() {
        let shared = Arc::new(Shared::default());
        let writer = LogWriter(Arc::clone(&shared));
        let line = vec![b'x'; 1024];
        for _ in 0..=MAX_WAITING_BYTES / line.len() {
            (&writer).write_all(&line).unwrap();
        }
        assert_eq!(shared.state().waiting.len(), MAX_WAITING_BYTES);
        assert_eq!(shared.state().dropped, 1);
        shared.state().closed = true;
        let mut out = Vec::new();
        shared.write_all(&mut out);
        assert!(out.ends_with(b"1 log lines were dropped: nothing took them in time\n"));
    }
}
