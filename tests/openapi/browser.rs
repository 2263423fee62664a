//! `/docs` as people read it: `tests/browser/docs.mjs` in Chromium, with the link of a demo.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Gives the browser's program.
fn browser(folder: &Path) -> String {
    crate::end_without("chromium");
    let output = Command::new("bash")
        .arg(folder.join("setup.sh"))
        .output()
        .expect("bash, to run tests/browser/setup.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/browser/setup.sh: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A demo on a free port, ended with the test.
struct Demo {
    process: Child,
    /// Kept open: the demo may write until its end.
    _out: BufReader<ChildStdout>,
    /// What it says to read in a browser.
    link: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("/docs") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended without a link");
        }
        let address =
            line.split_whitespace().find(|word| word.contains("/docs")).unwrap().to_owned();
        Self { process, _out: out, link: address }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        // Not with -9: then what it keeps would stay.
        let asked = Command::new("kill").arg(self.process.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _gone = self.process.kill();
        }
        let _status = self.process.wait();
    }
}

#[test]
fn the_page_can_be_read_and_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let browser = browser(&folder);
    let demo = Demo::start();
    let output = Command::new("node")
        .arg("--test-reporter=tap")
        .arg(folder.join("docs.mjs"))
        .args([&browser, &demo.link])
        .output()
        .expect("Node.js, to run tests/browser/docs.mjs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // A runner that found no test is content, too.
    assert!(said.contains("# fail 0") && !said.contains("# pass 0"), "{said}");
}
