//! What is read: a file or standard input, until its end or a signal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use chatkit_rest::error::Error;

use crate::cli::CommandFailure;
use crate::cli::shutdown::Signals;

/// What is read at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// How many blocks wait to be read.
const BLOCKS: usize = 2;

/// The exit code of who is stopped.
pub(super) const STOPPED: u8 = 130;

/// Whether a signal has come.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A source that is read on a thread of its own, so that who waits for it can be stopped.
pub(super) struct SourceReader {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    taken: usize,
    has_ended: bool,
    stop: Stop,
    /// If that is known.
    pub(super) size: Option<u64>,
}

impl SourceReader {
    /// Opens what is at `path`, or standard input, and takes the signals over.
    pub(super) fn open(path: &Path) -> Result<Self, CommandFailure> {
        let (source, size) = source(path)?;
        let (sender, blocks) = sync_channel(BLOCKS);
        let stop = Stop::default();
        stop_on_signal(stop.clone(), sender.clone())
            .and_then(|()| spawn("adopt-input", move || send(source, &sender)))
            .map_err(|error| Error::io("could not start a thread", error))?;
        Ok(Self { blocks, block: Vec::new(), taken: 0, has_ended: false, stop, size })
    }

    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() && !self.has_ended {
            // Who sends says when it was all.
            self.block = self.blocks.recv().map_err(io::Error::other)??;
            self.taken = 0;
            self.has_ended = self.block.is_empty();
        }
        if self.stop.is_asked() {
            return Err(io::Error::other("stopped"));
        }
        let mut rest = self.block.get(self.taken..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

fn source(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), CommandFailure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    match opened {
        Ok((_, metadata)) if metadata.is_dir() => {
            Err(CommandFailure::Usage(format!("{} is a directory", path.display())))
        }
        Ok((file, metadata)) => {
            let size = metadata.is_file().then_some(metadata.len());
            Ok((Box::new(file), size))
        }
        Err(error) => {
            Err(CommandFailure::Usage(format!("{} can't be read: {error}", path.display())))
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Sends all that there is, an empty block last, until nobody wants it.
fn send(mut source: Box<dyn Read + Send>, blocks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        let read = match source.read(&mut block) {
            Ok(bytes) => {
                block.truncate(bytes);
                Ok(block)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_last = read.as_ref().map_or(true, Vec::is_empty);
        if blocks.send(read).is_err() || is_last {
            return;
        }
    }
}

/// Stops by signals: the first stops what goes on in an orderly way, the second at once.
#[expect(clippy::exit, reason = "a store that is locked may take long, and loses nothing")]
fn stop_on_signal(stop: Stop, blocks: SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    spawn("adopt-signals", move || {
        runtime.block_on(signals.next());
        stop.0.store(true, Ordering::Relaxed);
        // For who waits for a block. If there are some to be read nobody does.
        let _ = blocks.try_send(Err(io::Error::other("stopped")));
        runtime.block_on(signals.next());
        std::process::exit(STOPPED.into());
    })
}
