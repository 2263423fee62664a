//! Lists that a store gives page by page.

use chatkit_rest::error::Error;

use super::{CommandFailure, output};

/// Prints all that `read` gives behind a place, at most `page` at a time: each by `line`, which is told
/// whether it is the first, and the place behind it by `place`. Where there is nothing it says `none`, but
/// to no program.
pub(super) async fn print<T, P>(
    read: impl AsyncFn(Option<P>) -> Result<Vec<T>, Error>,
    page: usize,
    place: impl Fn(T) -> P,
    line: impl Fn(&mut String, &T, bool),
    none: Option<&str>,
) -> Result<(), CommandFailure> {
    let mut after = None;
    let mut is_first = true;
    loop {
        let entries = read(after).await?;
        let mut text = String::new();
        for entry in &entries {
            line(&mut text, entry, is_first);
            is_first = false;
        }
        output::print(&text)?;
        if entries.len() < page {
            break;
        }
        after = entries.into_iter().next_back().map(&place);
    }
    if let Some(none) = none.filter(|_| is_first) {
        output::print(none)?;
    }
    Ok(())
}
