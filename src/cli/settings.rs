//! The flags that set something, and the configuration with them on top.

use std::path::PathBuf;

use chatkit_rest::config::{Faults, Loaded, Sources, StoreSettings};
use clap::Args;

/// Where settings come from. Flags win over the environment, which wins over the file.
#[derive(Args, Debug)]
pub(super) struct Settings {
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address and port to listen on (setting `listen`)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// ChatKit endpoint of the backing server, or `embedded` (setting `upstream.url`)
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// Where sessions are kept: `sqlite:FILE`, `postgres://…` or `memory:` (setting `store.url`)
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

impl Settings {
    /// Reads all layers, those of this process included.
    pub(super) fn load(self) -> Result<Loaded, Faults> {
        let mut sources = file_and_environment(self.config);
        for (flag, key, value) in [
            ("--listen", "listen", self.listen),
            ("--upstream", "upstream.url", self.upstream),
            ("--store", "store.url", self.store),
        ] {
            if let Some(value) = value {
                sources = sources.flag(flag, key, value);
            }
        }
        sources.load()
    }
}

/// Gives the settings of a store that is worked on beside its gateway, `store` being the flag's.
pub(super) fn store(
    config: Option<PathBuf>,
    store: Option<String>,
) -> Result<StoreSettings, Faults> {
    let mut sources = file_and_environment(config);
    if let Some(store) = store {
        sources = sources.flag("--store", "store.url", store);
    }
    sources.load_store()
}

/// Gives the layers below the flags.
pub(super) fn file_and_environment(config: Option<PathBuf>) -> Sources {
    let sources = Sources::new().environment(std::env::vars_os());
    match config {
        Some(path) => sources.file(path),
        None => sources,
    }
}
