//! Fixtures from files. Blocking: meant for start-up and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile::{self, Context};
use super::error::{FixtureError, segment};
use super::fixture::{Fixture, Inner, Step};
use super::format::{FixtureFile, StepFile};
use super::settings;

/// The folder of preludes, which are no fixtures of their own.
pub const GIVEN: &str = "given";

/// The largest fixture, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Loads every fixture below `directory`, in the order of their names.
///
/// A fixture is a `.json` file in a folder; files directly in `directory` and the folder
/// [`GIVEN`] are none. Blocks.
///
/// # Errors
/// The first file that can't be read or is not a fixture; or if there is none.
pub fn load(directory: impl AsRef<Path>) -> Result<Vec<Fixture>, FixtureError> {
    let root = directory.as_ref();
    let mut names = Vec::new();
    for folder in entries(root)? {
        let name = file_name(&folder);
        if folder.is_dir() && name != GIVEN {
            collect(&folder, &name, &mut names)?;
        }
    }
    names.sort();
    if names.is_empty() {
        let problem = "has no fixtures: no folder with .json files";
        return Err(FixtureError::new(root, "", problem));
    }
    names
        .into_iter()
        .map(|name| {
            let text = read(&root.join(format!("{name}.json")))?;
            Fixture::parse(root, &name, &text)
        })
        .collect()
}

impl Fixture {
    /// Reads one fixture from text. `root` and `name` say where it belongs: there its prelude
    /// and its recorded streams are looked for. Blocks where it has any.
    ///
    /// # Errors
    /// The place in it that is wrong, or a file it names that can't be read.
    pub fn parse(root: &Path, name: &str, text: &str) -> Result<Self, FixtureError> {
        let path = root.join(format!("{name}.json"));
        let file = fixture_file(&path, text)?;
        let settings: BTreeMap<String, String> =
            file.settings.iter().map(|(key, value)| (key.clone(), value.text())).collect();
        if let Some((key, fault)) = settings::fault(&settings) {
            return Err(FixtureError::new(&path, segment("/settings", key), fault));
        }
        let mut context = Context::default();
        let mut steps = match &file.given {
            Some(given) => prelude(&mut context, root, &path, given)?,
            None => Vec::new(),
        };
        let given = steps.len();
        steps.extend(read_steps(&mut context, &path, file.steps)?);
        if steps.len() == given {
            return Err(FixtureError::new(&path, "/steps", "is empty"));
        }
        let (name, description) = (name.to_owned(), file.description);
        let needs = file.needs;
        let inner = Inner { name, description, settings, needs, given, steps };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Gives the steps that a fixture begins with.
fn prelude(
    context: &mut Context,
    root: &Path,
    fixture: &Path,
    name: &str,
) -> Result<Vec<Step>, FixtureError> {
    let path = root.join(GIVEN).join(format!("{name}.json"));
    if name.contains(['/', '\\']) || !path.is_file() {
        let problem = format!("there is no {GIVEN}/{name}.json");
        return Err(FixtureError::new(fixture, "/given", problem));
    }
    let file = fixture_file(&path, &read(&path)?)?;
    if file.given.is_some() || !file.settings.is_empty() || !file.needs.is_empty() {
        return Err(FixtureError::new(&path, "", "a prelude has steps and nothing else"));
    }
    read_steps(context, &path, file.steps)
}

fn read_steps(
    context: &mut Context,
    path: &Path,
    files: Vec<StepFile>,
) -> Result<Vec<Step>, FixtureError> {
    path.parent().unwrap_or(path).clone_into(&mut context.directory);
    compile::steps(context, files, "/steps")
        .map_err(|(pointer, problem)| FixtureError::new(path, pointer, problem))
}

fn fixture_file(path: &Path, text: &str) -> Result<FixtureFile, FixtureError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let file = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        FixtureError::new(path, pointer, error.into_inner())
    })?;
    deserializer.end().map_err(|error| FixtureError::new(path, "", error))?;
    Ok(file)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, place| match place {
        Segment::Seq { index } => segment(&pointer, index),
        Segment::Map { key } => segment(&pointer, key),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), FixtureError> {
    for path in entries(folder)? {
        let name = file_name(&path);
        if path.is_dir() {
            collect(&path, &format!("{prefix}/{name}"), names)?;
        } else if let Some(stem) = name.strip_suffix(".json") {
            names.push(format!("{prefix}/{stem}"));
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, FixtureError> {
    let unreadable = |error| FixtureError::new(directory, "", format!("can't be read: {error}"));
    fs::read_dir(directory)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(unreadable))
        .collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, FixtureError> {
    let unreadable = |error| FixtureError::new(path, "", format!("can't be read: {error}"));
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        return Err(FixtureError::new(path, "", format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    fs::read_to_string(path).map_err(unreadable)
}
