//! The programs of `examples/leaving_hosted`, as a user starts them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Gateway, project, python};

/// What a program said, on stderr, and its status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) said: String,
}

/// Exports all that a service may read of `gateway` to `out`, or goes on with that.
pub(crate) fn export(gateway: &Gateway, key: &str, out: &Path) -> Ran {
    let mut command = program("export.py");
    command.env("OPENAI_API_KEY", key).env("OPENAI_BASE_URL", format!("{}/v1", gateway.url()));
    run(command.arg(out))
}

/// Loads `export` into the database of [`super::Upstream::start`]'s `store`, and writes `adopt`.
pub(crate) fn load(export: &Path, store: &str, adopt: &Path) -> Ran {
    let mut command = program("load.py");
    command.env("CHATKIT_STORE", store).arg(export);
    run(command.args(["--store", "example_store:make_store", "--adopt"]).arg(adopt))
}

/// Runs the tests in Python.
pub(crate) fn unit_tests() -> Ran {
    let mut command = python_with_the_programs();
    run(command.args(["-m", "unittest", "discover", "--start-directory"]).arg(tests()))
}

fn program(name: &str) -> Command {
    let mut command = python_with_the_programs();
    command.arg(programs().join(name));
    command
}

fn python_with_the_programs() -> Command {
    let mut command = Command::new(python());
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"] {
        command.env_remove(name);
    }
    command.env("PYTHONPATH", programs()).env("PYTHONDONTWRITEBYTECODE", "1");
    // Widgets are made of classes that the SDK would rather see made of templates.
    command.env("PYTHONWARNINGS", "ignore::DeprecationWarning");
    command
}

fn run(command: &mut Command) -> Ran {
    let ran = command.output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.stdout.is_empty(), "{}", String::from_utf8_lossy(&ran.stdout));
    Ran { status: ran.status.code(), said }
}

fn programs() -> PathBuf {
    project().join("examples/leaving_hosted")
}

fn tests() -> PathBuf {
    project().join("tests/live/leaving_hosted")
}
