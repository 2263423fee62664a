//! Locks on bytes of a file of its own, which stays empty.
//!
//! Not of the store's file: when a process closes that, whichever way it was opened, SQLite's locks are
//! gone. These are the open file's, not the process's, so two stores of one process have locks of their
//! own. They are gone with the process, however it ends.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(super) use linux::Locks;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) use nowhere::Locks;

/// What the file is called, behind the name of the store's: it ends as SQLite's own shared memory
/// does, so that what backs up, ignores or clears away SQLite's files knows what it is.
pub(super) const SUFFIX: &str = "-runs-shm";

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux {
    use std::fs::{File, Metadata, OpenOptions, Permissions};
    use std::io::{Error, ErrorKind, Result};
    use std::ops::Range;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
    use std::path::{Path, PathBuf};

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    #[derive(Debug)]
    pub(in super::super) struct Locks {
        file: File,
        path: PathBuf,
        identity: (u64, u64),
    }

    impl Locks {
        /// Whether there are any.
        pub(in super::super) const EXIST: bool = true;

        /// Opens the file beside the store's at `store`, and makes it if need be: for whom that is for.
        pub(in super::super) fn open(store: &Path) -> Result<Self> {
            let mut path = store.to_owned().into_os_string();
            path.push(super::SUFFIX);
            let path = PathBuf::from(path);
            let file = Self::open_or_make(&path, store)?;
            let identity = identity(&file.metadata()?);
            Ok(Self { file, path, identity })
        }

        fn open_or_make(path: &Path, store: &Path) -> Result<File> {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Ok(file) => {
                    let like = std::fs::metadata(store)?;
                    // Only root may give it away, and nobody else has to.
                    let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
                    file.set_permissions(Permissions::from_mode(like.mode() & 0o666))?;
                    Ok(file)
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // Or is gone again.
                    let mut options = OpenOptions::new();
                    let file = options.write(true).create(true).truncate(false).mode(0o600);
                    file.open(path)
                }
                Err(error) => Err(error),
            }
        }

        /// Whether it is still what others find at its path.
        pub(in super::super) fn is_there(&self) -> Result<bool> {
            match std::fs::metadata(&self.path) {
                Ok(found) => Ok(identity(&found) == self.identity),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }

        pub(in super::super) fn remove(&self) -> Result<()> {
            std::fs::remove_file(&self.path)
        }

        /// Locks `bytes`; `false` if another has one of them. What it has already it keeps.
        ///
        /// # Errors
        /// [`ErrorKind::Unsupported`] where there are no such locks.
        pub(in super::super) fn try_lock(&self, bytes: Range<u64>) -> Result<bool> {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&flock(libc::F_WRLCK, &bytes)?)) {
                Ok(_) => Ok(true),
                Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
                // What a kernel says that doesn't know them, as that of gVisor.
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                    Err(ErrorKind::Unsupported.into())
                }
                Err(error) => Err(error.into()),
            }
        }

        pub(in super::super) fn unlock(&self, bytes: Range<u64>) -> Result<()> {
            fcntl(&self.file, FcntlArg::F_OFD_SETLK(&flock(libc::F_UNLCK, &bytes)?))?;
            Ok(())
        }

        /// Some of those of `bytes` that another has locked, without a gap.
        pub(in super::super) fn locked(&self, bytes: &Range<u64>) -> Result<Option<Range<u64>>> {
            let mut lock = flock(libc::F_WRLCK, bytes)?;
            fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock))?;
            if i32::from(lock.l_type) == libc::F_UNLCK {
                return Ok(None);
            }
            let first = u64::try_from(lock.l_start).unwrap_or(0);
            let end = match u64::try_from(lock.l_len) {
                // To the end of all files.
                Ok(0) | Err(_) => u64::MAX,
                Ok(length) => first.saturating_add(length),
            };
            Ok(Some(first.max(bytes.start)..end.min(bytes.end)))
        }
    }

    fn identity(metadata: &Metadata) -> (u64, u64) {
        (metadata.dev(), metadata.ino())
    }

    fn flock(kind: i32, bytes: &Range<u64>) -> Result<libc::flock> {
        let far = |_| Error::from(ErrorKind::InvalidInput);
        Ok(libc::flock {
            l_type: i16::try_from(kind).map_err(far)?,
            l_whence: 0, // From the start of the file.
            l_start: i64::try_from(bytes.start).map_err(far)?,
            l_len: i64::try_from(bytes.end.saturating_sub(bytes.start)).map_err(far)?,
            l_pid: 0,
        })
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod nowhere {
    use std::io::{Error, ErrorKind, Result};
    use std::ops::Range;
    use std::path::Path;

    /// None: there is no such thing.
    #[derive(Debug)]
    pub(in super::super) enum Locks {}

    impl Locks {
        pub(in super::super) const EXIST: bool = false;

        pub(in super::super) fn open(_: &Path) -> Result<Self> {
            Err(Error::from(ErrorKind::Unsupported))
        }

        pub(in super::super) fn is_there(&self) -> Result<bool> {
            match *self {}
        }

        pub(in super::super) fn remove(&self) -> Result<()> {
            match *self {}
        }

        pub(in super::super) fn try_lock(&self, _: Range<u64>) -> Result<bool> {
            match *self {}
        }

        pub(in super::super) fn unlock(&self, _: Range<u64>) -> Result<()> {
            match *self {}
        }

        pub(in super::super) fn locked(&self, _: &Range<u64>) -> Result<Option<Range<u64>>> {
            match *self {}
        }
    }
}
