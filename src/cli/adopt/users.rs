//! Whose things they are: how many users, and some of them. Who sees that none is one of theirs has
//! written down other ids than the gateway reads in tokens.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;

use chatkit_rest::principal::UserId;

/// How many are shown, and how much of each.
const SHOWN: usize = 3;
const SHOWN_CHARS: usize = 64;

/// How many are told apart.
const MAX_COUNTED: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Users {
    hasher: RandomState,
    /// Of their ids, which may be long.
    hashes: HashSet<u64>,
    first: Vec<String>,
}

impl Users {
    pub(super) fn add(&mut self, user: &UserId) {
        let hash = self.hasher.hash_one(user.as_str());
        if self.hashes.len() >= MAX_COUNTED || !self.hashes.insert(hash) {
            return;
        }
        if self.first.len() < SHOWN {
            let shown = user.as_str().chars().take(SHOWN_CHARS).collect::<String>();
            self.first.push(format!("{shown:?}"));
        }
    }
}

/// `2, such as "ada", "bob"`
impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.hashes.len();
        if count >= MAX_COUNTED {
            f.write_str("at least ")?;
        }
        write!(f, "{count}")?;
        if self.first.is_empty() {
            return Ok(());
        }
        write!(f, ", such as {}", self.first.join(", "))
    }
}
