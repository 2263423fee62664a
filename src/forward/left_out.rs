use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::shown::shown;

/// Names that are kept; clients choose them, so there is an end.
const MAX_NAMES: usize = 64;

/// What is kept of a name.
const MAX_NAME_BYTES: usize = 128;

/// Logs each header field that isn't passed on once, without its value, so that who misses one
/// learns of the setting, and a client that sends it every time fills no log.
pub(super) struct LeftOut {
    names: [OnceLock<Box<str>>; MAX_NAMES],
    is_full: AtomicBool,
}

impl Default for LeftOut {
    fn default() -> Self {
        Self { names: [const { OnceLock::new() }; MAX_NAMES], is_full: AtomicBool::new(false) }
    }
}

/// Whether there is something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    First,
    Known,
    /// One name too many, for the first time.
    TooMany,
}

impl LeftOut {
    /// Logs `name` if it is the first time.
    #[cold]
    pub(super) fn tell(&self, name: &str) {
        // Field names are ASCII.
        let kept = name.get(..MAX_NAME_BYTES).unwrap_or(name);
        match self.note(kept) {
            News::First => tracing::info!(
                header = &*shown(name),
                "a client's header is not passed on to the upstream: it is not in \
                 upstream.forward_headers"
            ),
            News::TooMany => tracing::info!(
                names = MAX_NAMES,
                "so many headers of clients are not passed on to the upstream; no more of them \
                 are named"
            ),
            News::Known => {}
        }
    }

    fn note(&self, name: &str) -> News {
        for slot in &self.names {
            let mut is_new = false;
            let kept = slot.get_or_init(|| {
                is_new = true;
                name.into()
            });
            if is_new {
                return News::First;
            }
            if **kept == *name {
                return News::Known;
            }
        }
        if self.is_full.swap(true, Ordering::Relaxed) { News::Known } else { News::TooMany }
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|slot| slot.get().map(|name| &**name))
    }
}

impl fmt::Debug for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftOut").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_news_once_and_there_is_an_end() {
        let left_out = LeftOut::default();
        for index in 0..MAX_NAMES {
            let name = format!("x-{index}");
            assert_eq!(left_out.note(&name), News::First);
            assert_eq!(left_out.note(&name), News::Known);
        }
        assert_eq!(left_out.note("x-more"), News::TooMany);
        assert_eq!(left_out.note("x-more"), News::Known);
        assert_eq!(left_out.note("x-others"), News::Known);
        assert_eq!(left_out.note("x-0"), News::Known);
    }
}
