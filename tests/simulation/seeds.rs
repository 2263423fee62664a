//! Seeds that found something once, be it a fault that was made on purpose.

use crate::Stage;
use crate::world::memory;

#[test]
fn seeds_that_found_something_hold() {
    // A bind that came late took a session whose run was settled by then.
    let late_binds = [10];
    // A run began in the place of another that was under way.
    let places = [28, 82];
    Stage::new().hold(late_binds.into_iter().chain(places), memory);
}
