use crate::news::{MAX_NAMES, News, Told};
use crate::shown::shown;

/// Logs each header field that isn't passed on once, without its value, so that who misses one
/// learns of the setting, and a client that sends it every time fills no log.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Told);

impl LeftOut {
    /// Logs `name` if it is the first time.
    #[cold]
    pub(super) fn tell(&self, name: &str) {
        match self.0.note(name) {
            News::First => tracing::info!(
                header = &*shown(name),
                "a client's header is not passed on to the upstream: it is not in \
                 upstream.forward_headers"
            ),
            News::TooMany => tracing::info!(
                names = MAX_NAMES,
                "so many headers of clients are not passed on to the upstream; of more, one a minute \
                 is named"
            ),
            News::Known => {}
        }
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<String> {
        self.0.all()
    }
}
