#![doc = include_str!("links.md")]
#![doc = include_str!("README.md")]
//
// A chapter is a file that reads well by itself, in the repository's view too: its links are by
// label, and it ends with where the labels lead to among the files. `links.md` comes first here, and
// of two definitions the first one counts, so that the same labels lead to these pages, which
// rustdoc checks. `tests/readme` checks the files, and runs what is in them.

/// One empty module for each chapter, which is its page.
macro_rules! chapters {
    ($($chapter:ident: $file:literal,)*) => {$(
        #[doc = include_str!("links.md")]
        #[doc = include_str!($file)]
        pub mod $chapter {}
    )*};
}

chapters! {
    tour: "tour.md",
    model: "model.md",
    leaving_hosted: "leaving_hosted.md",
    existing_server: "existing_server.md",
    operations: "operations.md",
    chat: "chat.md",
    errors: "errors.md",
    configuration: "configuration.md",
    identity_providers: "identity_providers.md",
    deployment: "deployment.md",
    security: "security.md",
    several_machines: "several_machines.md",
    troubleshooting: "troubleshooting.md",
}

#[doc = include_str!("links.md")]
// What is shown there in Rust is compiled and run, and needs these rooms.
#[cfg_attr(feature = "server", doc = include_str!("embedding.md"))]
#[cfg_attr(not(feature = "server"), doc = "Shown with the feature `server`.")]
pub mod embedding {}
