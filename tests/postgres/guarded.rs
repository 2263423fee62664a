//! Servers that end with the process of the tests, however that ends.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

/// No wait for a server is longer; whoever gets there has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many of its last lines are kept.
const LINES: usize = 500;

/// Becomes a command, beside a process that reads an input which the process of the tests holds. Where
/// that ends without a line, so did the tests: it ends the server, and removes its folder if it has one.
const GUARD: &str = r#"
signal=$1 folder=$2
shift 2
exec 3<&0
(
    read -r _ <&3 && exit
    kill -s "$signal" $$
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -s 0 $$ || break
        sleep 1
    done
    kill -s KILL $$
    [ -z "$folder" ] || rm -rf -- "$folder"
) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// What a server is ended by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Int,
    Kill,
    Quit,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }
}

/// A server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    /// Not the child's: who waits for that closes it.
    input: ChildStdin,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<String>,
    /// Nobody has the other end any more: not the server, nor its children.
    has_ended: bool,
}

impl Guarded {
    /// Starts a server with its output, for which the signal is the end that waits for nothing.
    pub(crate) fn spawn(command: &Command, signal: Signal, folder: Option<&Path>) -> Self {
        let mut guarded = Command::new("sh");
        guarded.args(["-c", GUARD, "sh", signal.name()]).arg(folder.unwrap_or(Path::new("")));
        guarded.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(name, value),
                None => guarded.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guarded.current_dir(folder);
        }
        guarded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = guarded.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let log = Arc::<Log>::default();
        // Whatever of the two it says more on, both end with it.
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reader = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || log.read(out))
        };
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            kept.read(err);
            let _ = reader.join();
            kept.said().has_ended = true;
            kept.more.notify_all();
        });
        Self { child, input, log }
    }

    /// Waits for a line with this text, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let has_it = |said: &Said| said.lines.iter().find(|line| line.contains(text)).cloned();
        let said = self.log.wait(|said| said.has_ended || has_it(said).is_some());
        has_it(&said).unwrap_or_else(|| panic!("it didn't say {text:?}:\n{}", said.text()))
    }

    /// Gives its last lines.
    pub(crate) fn said(&self) -> String {
        self.log.said().text()
    }

    /// Sends it the signal, and waits until it has ended, its children too.
    pub(crate) fn end(mut self, signal: Signal) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal.name(), &pid]).status().unwrap();
        assert!(sent.success(), "it has ended by itself:\n{}", self.said());
        let _status = self.child.wait().unwrap();
        let said = self.log.wait(|said| said.has_ended);
        assert!(said.has_ended, "somebody still writes:\n{}", said.text());
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
        // Its number may be somebody else's now.
        let _sent = self.input.write_all(b"\n");
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "a failed test shows what the server said")]
            {
                eprintln!("--- a server's log ---\n{}---", self.said());
            }
        }
    }
}

impl Log {
    fn read(&self, output: impl Read) {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let mut said = self.said();
            if said.lines.len() == LINES {
                said.lines.pop_front();
            }
            said.lines.push_back(String::from_utf8_lossy(&line).into_owned());
            self.more.notify_all();
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until: impl Fn(&Said) -> bool) -> MutexGuard<'_, Said> {
        let waited = self.more.wait_timeout_while(self.said(), PATIENCE, |said| !until(said));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Said {
    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Who runs what root may not: PostgreSQL and `PgBouncer` refuse to be root's.
fn other_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)))
}

/// Gives a command that runs a program, as another user where this one is root.
pub(crate) fn as_other_user(program: &Path) -> Command {
    let Some((user, group)) = other_user() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
    command.arg("--").arg(program);
    command
}

/// Makes a folder for what that user runs.
pub(crate) fn folder_of_other_user(name: &str) -> PathBuf {
    let name = format!("chatkit-rest-{name}-{}", Uuid::new_v4().simple());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).unwrap();
    #[cfg(unix)]
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(&folder, Some(user), Some(group)).unwrap();
    }
    folder
}

/// Gives a file in it that its user alone can read.
pub(crate) fn write_for_other_user(path: &Path, text: &str) {
    use std::os::unix::fs::{OpenOptionsExt as _, chown};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    if let Some((user, group)) = other_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}
