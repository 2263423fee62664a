//! What processes on one file tell one another of the messages that are in no row yet.
//!
//! They do so by [locks](super::locks) on bytes of a file, where nothing is ever stored. A lock costs no
//! write, and it is gone with its process, however that ends. Each session has a range of bytes: the first
//! one is *its lock*, and behind it each process has a part in which it has one byte locked for each
//! message of its own, in flight or not yet written: they are *marked*.
//!
//! The limit of messages is exact because of two rules:
//!
//! 1. Who decides on a run of a session, or commits its count, has the session's lock, from before it
//!    reads the row or commits until its marks are right. So whoever has the lock finds each message
//!    once: in the row, in its own tally, or marked by its process.
//! 2. Who may have messages that are not marked has [`UNMARKED`] locked, which one process at most
//!    has, and nobody else decides anything meanwhile.
//!
//! What is marked also tells that a process is there: the lease of a first run is over where its run is
//! not in flight here and nobody else has a message of its session.
//!
//! A process that is alone has the second lock, and neither marks its messages nor locks sessions: it
//! makes no system call for a run. It looks for others each [`LOOK_EVERY`]. Who comes shows itself by its
//! number, a byte that it has locked for as long as it has the file open, *before* it looks whether
//! `UNMARKED` is free. If it is, it stays so: whoever locks it from then on finds the number, and lets go.
//! If it isn't, its owner finds the number sooner or later, marks all that it has, and lets go.
//!
//! Whoever closes the file last removes it. So who shows itself, and who removes the file, has [`DOOR`]
//! locked meanwhile, and opens another file if what it has is no more the one that others find.
//!
//! If the file is deleted while it is open, who comes next makes another, and the two would know nothing
//! of each other. So nothing is decided by a file that others don't find any more, but for at most
//! [`LOOK_EVERY`] by who is alone. Whoever notices goes on with the one that they find: shows itself there
//! and no more here, marks all that it has, and decides when nobody shows itself in the old file, which it
//! keeps open until then; nor in those before, if it was deleted more than once.
//!
//! Two sessions have one range by accident, one pair in 2^40. Then each finds the other's messages too:
//! less may pass than could, never more.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::locks::Locks;
use crate::session::record::SessionId;

/// How long it takes at most until a process that is alone notices that another has come.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 250 });

/// Where the ranges of sessions begin.
const SESSIONS: u64 = 1 << 62;

/// The length of a session's range, and of a process's part of it. The first part is the session's lock.
const RANGE: u64 = PART * (MAX_NUMBER + 1);
const PART: u64 = 1 << 16;

/// How many ranges there are, in bits: they end where files do.
const RANGE_BITS: u32 = 40;

/// Processes have numbers from 1 to this one.
const MAX_NUMBER: u64 = 63;

/// The bytes of the numbers: that of number 1 is the second.
const NUMBERS: u64 = SESSIONS - 1024;
const ALL_NUMBERS: Range<u64> = NUMBERS + 1..NUMBERS + 1 + MAX_NUMBER;

/// The byte of who may have messages that are not marked.
pub(super) const UNMARKED: Range<u64> = SESSIONS - 2048..SESSIONS - 2047;

/// The byte of who comes or goes.
const DOOR: Range<u64> = SESSIONS - 4096..SESSIONS - 4095;

/// How long, and how often, somebody is waited for who has `DOOR` for some microseconds.
const KNOCK_EVERY: Duration = Duration::from_millis(1);
const KNOCKS: u32 = 5000;

const _: () = assert!(SESSIONS + (RANGE << RANGE_BITS) == 1 << 63);

/// This process's locks.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of the store that they are of.
    path: PathBuf,
    /// None if nobody else can come, or if that can't be told.
    locks: Option<Locks>,
    /// Those that nobody finds any more, and that others may still go by.
    left: Vec<Places>,
    /// Nothing was decided since.
    is_moving: bool,
    number: u64,
    mode: Mode,
    /// What is locked of the sessions' ranges, by their first bytes.
    held: HashMap<u64, Held>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Has `UNMARKED`, and marks nothing.
    #[default]
    Alone,
    /// Has `UNMARKED`, and marks whatever changes; what was there before is still to be marked.
    Marking,
    /// Everything is marked, and nobody has what isn't.
    Shared,
    /// Somebody else may have messages that are not marked.
    Waiting,
}

#[derive(Debug, Default)]
struct Held {
    locks: u32,
    marks: u64,
}

/// What was seen of other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing new.
    Same,
    /// Somebody came: from now on everything is to be marked, and then [said](Places::all_marked).
    Company,
    /// That is still to be done.
    Unmarked,
    /// All others have gone: nothing is marked any more.
    Nobody,
}

/// What is lost without locks.
const UNSEEN: &str = "processes that have it open at once don't see one another: the limit of messages \
                      doesn't count those of the others in flight";

impl Places {
    /// Shows itself to others that have the store at `path` open.
    ///
    /// Where the system has no such locks, it is as if it were alone.
    ///
    /// # Errors
    /// If the file of locks can't be opened or locked, or too many have it open.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !Locks::EXIST {
            tracing::info!("session store: on this system, {UNSEEN}");
            return Ok(Self::default());
        }
        for _ in 0..KNOCKS {
            let locks = Locks::open(path)?;
            let door = match locks.try_lock(DOOR) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!("session store: on this file system, {UNSEEN}");
                    return Ok(Self::default());
                }
                door => door?,
            };
            if !door {
                #[expect(clippy::disallowed_methods, reason = "who opens a store may block")]
                std::thread::sleep(KNOCK_EVERY);
            } else if locks.is_there()? {
                let number = take_number(&locks)?;
                locks.unlock(DOOR)?;
                let (mode, held, path) = (Mode::Waiting, HashMap::new(), path.to_owned());
                let (left, is_moving) = (Vec::new(), false);
                return Ok(Self { path, locks: Some(locks), left, is_moving, number, mode, held });
            }
        }
        Err(io::Error::other("another process is about to open or to close it, and doesn't go on"))
    }

    /// Tells whether others have to be looked for.
    pub(super) fn is_open(&self) -> bool {
        self.locks.is_some()
    }

    /// Gives the path of their store.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether nothing can be decided yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.mode == Mode::Waiting
    }

    /// Tells whether that is because others are still to notice that this process [goes
    /// on](Self::move_to) here.
    pub(super) fn is_moving(&self) -> bool {
        self.is_moving
    }

    /// Tells whether others don't find these any more: somebody is to [go on](Self::move_to) with
    /// other ones.
    pub(super) fn are_lost(&self) -> io::Result<bool> {
        self.locks.as_ref().map_or(Ok(false), |locks| locks.is_there().map(|there| !there))
    }

    /// Goes on with others, where all messages are to be marked.
    pub(super) fn move_to(&mut self, others: Self) {
        let mut old = std::mem::replace(self, others);
        self.is_moving = self.mode == Mode::Waiting;
        // Of those that were deleted before, too.
        self.left = std::mem::take(&mut old.left);
        if let Some(locks) = &old.locks {
            // Who is still there is not to wait for this one.
            let number = NUMBERS + old.number;
            if locks.unlock(number..number + 1).is_err() || old.has_others().unwrap_or(true) {
                self.left.push(old);
            }
        }
    }

    /// Tells whether others have it open: other processes, or this one a second time. False where the
    /// system has no locks to tell by.
    pub(super) fn has_others(&self) -> io::Result<bool> {
        let locks = self.locks.as_ref();
        locks.map_or(Ok(false), |locks| Ok(locks.locked(&ALL_NUMBERS)?.is_some()))
    }

    /// Tells whether others have it open, and all can decide.
    #[cfg(test)]
    pub(super) fn is_shared(&self) -> bool {
        self.mode == Mode::Shared
    }

    /// Tells whether messages are to be marked.
    pub(super) fn marks(&self) -> bool {
        match self.mode {
            Mode::Alone => false,
            Mode::Marking | Mode::Shared | Mode::Waiting => true,
        }
    }

    /// Looks for others.
    pub(super) fn look(&mut self) -> io::Result<Seen> {
        while let Some(left) = self.left.last() {
            if left.has_others()? {
                return Ok(Seen::Same);
            }
            self.left.pop();
        }
        let Some(locks) = &self.locks else { return Ok(Seen::Same) };
        let others = || locks.locked(&ALL_NUMBERS).map(|others| others.is_some());
        match self.mode {
            Mode::Alone if others()? => {
                self.mode = Mode::Marking;
                Ok(Seen::Company)
            }
            Mode::Alone => Ok(Seen::Same),
            Mode::Marking => Ok(Seen::Unmarked),
            Mode::Waiting if locks.locked(&UNMARKED)?.is_some() => Ok(Seen::Same),
            Mode::Waiting | Mode::Shared => {
                (self.mode, self.is_moving) = (Mode::Shared, false);
                if others()? || !locks.try_lock(UNMARKED)? {
                    return Ok(Seen::Same);
                }
                // Somebody may have come before it was locked, and found it free.
                if others().inspect_err(|_| drop(locks.unlock(UNMARKED)))? {
                    locks.unlock(UNMARKED)?;
                    return Ok(Seen::Same);
                }
                locks.unlock(SESSIONS..SESSIONS + (RANGE << RANGE_BITS))?;
                self.held = HashMap::new();
                self.mode = Mode::Alone;
                Ok(Seen::Nobody)
            }
        }
    }

    /// Lets others decide: everything is marked.
    pub(super) fn all_marked(&mut self) -> io::Result<()> {
        if let (Some(locks), Mode::Marking) = (&self.locks, self.mode) {
            locks.unlock(UNMARKED)?;
            self.mode = Mode::Shared;
        }
        Ok(())
    }

    /// Takes a session's lock, and counts what others have marked of it; none if somebody else has
    /// the lock, or nothing can be decided yet.
    pub(super) fn lock(&mut self, id: SessionId) -> io::Result<Option<u64>> {
        let locks = match (&self.locks, self.mode) {
            (Some(locks), Mode::Marking | Mode::Shared) => locks,
            (_, Mode::Waiting) => return Ok(None),
            (None, _) | (_, Mode::Alone) => return Ok(Some(0)),
        };
        let first = range(id);
        if self.held.get(&first).is_some_and(|held| held.locks > 0)
            || !locks.try_lock(first..first + 1)?
        {
            return Ok(None);
        }
        // Only now: who has it while it is there has it before anybody can have that of another file.
        if !locks.is_there().unwrap_or(false) {
            locks.unlock(first..first + 1)?;
            return Ok(None);
        }
        let others = match count(locks, first + PART..first + RANGE) {
            Ok(others) => others,
            Err(error) => {
                locks.unlock(first..first + 1)?;
                return Err(error);
            }
        };
        self.held.entry(first).or_default().locks += 1;
        Ok(Some(others))
    }

    /// Tells whether a session's lock could be had just now.
    pub(super) fn is_free(&self, id: SessionId) -> io::Result<bool> {
        let locks = match (&self.locks, self.mode) {
            (Some(locks), Mode::Marking | Mode::Shared) => locks,
            (_, Mode::Waiting) => return Ok(false),
            (None, _) | (_, Mode::Alone) => return Ok(true),
        };
        let first = range(id);
        let is_held = self.held.get(&first).is_some_and(|held| held.locks > 0);
        Ok(!is_held && locks.is_there()? && locks.locked(&(first..first + 1))?.is_none())
    }

    /// Gives a session's lock back.
    pub(super) fn unlock(&mut self, id: SessionId) -> io::Result<()> {
        let (Some(locks), true) = (&self.locks, self.marks()) else { return Ok(()) };
        let first = range(id);
        let Some(held) = self.held.get_mut(&first) else { return Ok(()) };
        held.locks = held.locks.saturating_sub(1);
        if held.locks > 0 {
            return Ok(());
        }
        if held.marks == 0 {
            self.held.remove(&first);
        }
        locks.unlock(first..first + 1)
    }

    /// Marks so many messages of a session, of which so many `were` marked.
    pub(super) fn mark(&mut self, id: SessionId, were: u64, messages: u64) -> io::Result<()> {
        let (Some(locks), true) = (&self.locks, self.marks()) else { return Ok(()) };
        let first = range(id);
        let held = self.held.entry(first).or_default();
        let marks = held.marks.saturating_sub(were).saturating_add(messages);
        // Beyond that there are no bytes; no limit that is of use is so high.
        let byte = |marks: u64| first + self.number * PART + marks.min(PART);
        let (from, to) = (byte(held.marks), byte(marks));
        if from < to && !locks.try_lock(from..to)? {
            return Err(io::Error::other("another process has the same number"));
        }
        if to < from {
            locks.unlock(to..from)?;
        }
        held.marks = marks;
        if held.marks == 0 && held.locks == 0 {
            self.held.remove(&first);
        }
        Ok(())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let Some(locks) = &self.locks else { return };
        // One that nobody finds is gone with this.
        let is_last = || {
            Ok::<_, io::Error>(
                locks.try_lock(DOOR)?
                    && locks.locked(&ALL_NUMBERS)?.is_none()
                    && locks.is_there()?,
            )
        };
        // It may as well stay.
        if is_last().unwrap_or(false) {
            let _ = locks.remove();
        }
    }
}

fn take_number(locks: &Locks) -> io::Result<u64> {
    for number in 1..=MAX_NUMBER {
        if locks.try_lock(NUMBERS + number..NUMBERS + number + 1)? {
            return Ok(number);
        }
    }
    Err(io::Error::other("too many processes have it open"))
}

/// Gives the first byte of a session's range.
fn range(id: SessionId) -> u64 {
    let bits = u128::from_be_bytes(*id.as_bytes());
    // The ids of adopted sessions need not be random.
    #[expect(clippy::cast_possible_truncation, reason = "each half in its turn")]
    let mixed = ((bits >> 64) as u64 ^ bits as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    SESSIONS + (mixed >> (u64::BITS - RANGE_BITS)) * RANGE
}

/// Tells how many of `bytes` others have locked.
fn count(locks: &Locks, bytes: Range<u64>) -> io::Result<u64> {
    let (mut counted, mut rest) = (0, vec![bytes]);
    while let Some(bytes) = rest.pop() {
        if bytes.is_empty() {
            continue;
        }
        // Any of them, not the first.
        if let Some(locked) = locks.locked(&bytes)? {
            counted += locked.end.saturating_sub(locked.start);
            rest.push(bytes.start..locked.start);
            rest.push(locked.end..bytes.end);
        }
    }
    Ok(counted)
}
