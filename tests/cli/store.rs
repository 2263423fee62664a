//! `chatkit-rest migrate` and `chatkit-rest store`.

use std::path::PathBuf;

use crate::{Ran, run};

const OF_0_1_0: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/written_by/0.1.0.db");

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("chatkit-rest-cli-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        std::fs::copy(OF_0_1_0, path.join("old.db")).unwrap();
        Self(path)
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.0.join(name).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn migrate(url: &str) -> Ran {
    run(&["migrate", "--store", url], &[])
}

#[test]
fn a_file_is_brought_to_this_version_and_copied() {
    let directory = Directory::new();
    let (old, new) = (directory.url("old.db"), directory.url("new.db"));
    let early = run(&["store", "copy", &old, &new], &[]);
    assert_eq!((early.code, early.out.as_str()), (1, ""));
    assert!(early.err.contains("has to open it first, or chatkit-rest migrate"), "{}", early.err);
    let told = migrate(&old).out;
    assert!(told.ends_with(" is brought from version 4 to version 10.\n"), "{told}");
    assert!(migrate(&old).out.ends_with(" is of version 10 already.\n"));
    assert!(migrate(&directory.url("made.db")).out.ends_with(" is made: version 10.\n"));

    let copied = run(&["store", "copy", &old, &new], &[]);
    assert_eq!((copied.code, copied.err.as_str()), (0, ""));
    let last = "Both stores have the same 16 rows, by their counts and hashes; 16 of them were written now.";
    assert_eq!(copied.out.lines().last(), Some(last));
    assert!(copied.out.contains("\nsession  7  7  "), "{}", copied.out);
    // The store of the settings, by its name; nothing is left to be done.
    let again = run(&["store", "copy", &old, "store.url"], &[("CHATKIT_REST__STORE__URL", &new)]);
    assert!(again.out.contains("; 0 of them were written now."), "{}", again.out);
}

#[test]
fn what_is_no_store_to_copy_is_wrong_usage() {
    let directory = Directory::new();
    let (old, new) = (directory.url("old.db"), directory.url("new.db"));
    for (from, to, reason) in [
        ("memory:", &*new, "expected sqlite:FILE or postgres://…"),
        (&old, "memory:", "expected sqlite:FILE or postgres://…"),
        (&old, &old, "the same store"),
        (&new, &old, "there is no session store"),
        (&old, "postgres:planted", "store.url"),
        (&old, "mysql://ada:planted@h/d", "store.url"),
    ] {
        let ran = run(&["store", "copy", from, to], &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{from} {to}");
        assert!(ran.err.contains(reason) && !ran.err.contains("planted"), "{}", ran.err);
    }
    assert!(!directory.0.join("new.db").exists());
    for (arguments, reason) in [
        (&["migrate", "--store", "memory:"][..], "has no version"),
        (&["migrate", "--print", "--store", &new], "--print is for PostgreSQL"),
        (&["migrate", "--from", "1", "--store", &new], "--print"),
    ] {
        let ran = run(arguments, &[]);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains(reason), "{}", ran.err);
    }
}

#[cfg(feature = "postgres")]
mod database {
    use crate::{SECRET, run};

    /// Where nobody listens.
    const AWAY: &str = "postgres://ada:planted@127.0.0.1:1/chat";

    #[test]
    fn the_sql_of_migrations_needs_no_database() {
        let all = run(&["migrate", "--print", "--store", AWAY], &[]);
        assert_eq!((all.code, all.err.as_str()), (0, ""));
        assert!(all.out.starts_with("-- Version 1\nBEGIN;\n"), "{}", all.out);
        assert!(all.out.contains("CREATE TABLE session") && all.out.contains("\"chatkit_rest\""));
        let other = [("CHATKIT_REST__STORE__SCHEMA", "other")];
        let later = run(&["migrate", "--print", "--from", "1", "--store", AWAY], &other);
        assert!(later.out.starts_with("-- Version 2\n") && later.out.contains("\"other\""));
        assert!(!later.out.contains("CREATE TABLE session"));
    }

    #[test]
    fn a_database_that_is_away_ends_what_needs_it() {
        let secret = [("CHATKIT_REST__AUTH__SECRET", SECRET)];
        for arguments in [
            &["serve", "--listen", "127.0.0.1:0", "--store", AWAY][..],
            &["migrate", "--store", AWAY],
            &["quarantine", "list", "--store", AWAY],
            &["store", "copy", AWAY, "sqlite:/nowhere/x.db"],
        ] {
            let ran = run(arguments, &secret);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{arguments:?}: {}", ran.err);
            assert!(ran.err.contains("ada@127.0.0.1:1/chat"), "{}", ran.err);
            assert!(ran.err.contains("could not connect to the database"), "{}", ran.err);
            assert!(!ran.err.contains("planted"), "{}", ran.err);
        }
        let checked = run(&["check", "--store", AWAY], &secret);
        assert_eq!(checked.code, 0, "{}", checked.err);
        let line = "store.url = \"postgres://ada@127.0.0.1:1/chat\" (flag --store)";
        assert!(checked.out.contains(line), "{}", checked.out);
    }
}
