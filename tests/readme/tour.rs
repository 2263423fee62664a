//! The tour, and the README's exchange, pasted into a shell.

use std::process::Command;

use crate::demo::Demo;
use crate::section;
use crate::shells::paste_everywhere;

/// One block, and what the page says of its output.
struct Step {
    script: String,
    expected: String,
}

fn steps(name: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = section(name).lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match language {
            "sh" => steps.push(Step { script: block, expected: String::new() }),
            "text" => steps.last_mut().unwrap().expected = block,
            other => panic!("what is a block of {other:?}?"),
        }
    }
    steps
}

const MARK: &str = "=== the next block ===";

/// All blocks, as they are pasted into one shell.
fn script(demo: &Demo, steps: &[Step]) -> String {
    let mut script = format!("{}\n", demo.variables);
    for step in steps {
        script += &step.script;
        script += "\necho '";
        script += MARK;
        script += "'\n";
    }
    script
}

/// Runs all blocks in one shell, as a reader does, and gives the output of each.
fn run(demo: &Demo, shell: &str, steps: &[Step]) -> Vec<String> {
    let script = format!("set -eu\n{}", script(demo, steps));
    let ran = Command::new(shell).args(["-c", &script]).output().unwrap();
    let output = String::from_utf8(ran.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{shell}: {}\n{output}\n{errors}", ran.status);
    assert_eq!(errors, "", "{shell}: nothing goes to standard error");
    outputs(&output)
}

fn outputs(output: &str) -> Vec<String> {
    let mut outputs: Vec<_> = output.split(&format!("{MARK}\n")).map(str::to_owned).collect();
    outputs.pop();
    outputs
}

/// Expects `output` to have the pieces of `expected` in their order; `…` and the end of a line
/// stand for anything.
fn assert_like(output: &str, expected: &str) {
    let mut rest = output;
    for piece in expected.split(['…', '\n']).filter(|piece| !piece.is_empty()) {
        let Some((_, after)) = rest.split_once(piece) else {
            panic!("{piece}\n\nis not (or not there) in\n\n{output}");
        };
        rest = after;
    }
}

fn follow(name: &str, shell: &str, least: usize) {
    let steps = steps(name);
    assert!(steps.len() >= least, "{name} has shrunk to {} blocks", steps.len());
    let demo = Demo::start();
    // Who takes it again finds the demo still there.
    for _ in 0..3 {
        assert_steps(&steps, &run(&demo, shell, &steps));
    }
}

fn assert_steps(steps: &[Step], outputs: &[String]) {
    assert_eq!(outputs.len(), steps.len());
    for (step, output) in steps.iter().zip(outputs) {
        assert_eq!(step.expected.is_empty(), output.is_empty(), "{}\n{output}", step.script);
        assert_like(output, &step.expected);
    }
}

#[test]
fn it_works_in_bash() {
    follow("tour", "bash", 10);
}

#[test]
fn it_works_in_sh() {
    follow("tour", "sh", 10);
}

#[test]
fn both_work_at_a_terminal() {
    for name in ["exchange", "tour"] {
        let steps = steps(name);
        let demo = Demo::start();
        paste_everywhere(
            || script(&demo, &steps),
            |_, output| assert_steps(&steps, &outputs(output)),
        );
    }
}

#[test]
fn the_readmes_exchange_works_in_both() {
    for shell in ["bash", "sh"] {
        follow("exchange", shell, 2);
    }
}
