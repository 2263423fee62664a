#!/usr/bin/env node
// Finds the program, which is in a package for this platform, and becomes it as far as Node.js can.

"use strict";

const { spawn } = require("node:child_process");
const os = require("node:os");
const tty = require("node:tty");
const { name, optionalDependencies } = require("./package.json");

/** The codes that the program itself ends with if it can't run. */
const FAILED = 1;

function fail(...lines) {
  process.stderr.write(`${lines.join("\n")}\n`);
  process.exit(FAILED);
}

function program() {
  const platform = `${process.platform}-${process.arch}`;
  const needed = `${name}-${platform}`;
  if (!Object.hasOwn(optionalDependencies, needed)) {
    const known = Object.keys(optionalDependencies).map((it) => it.slice(name.length + 1));
    fail(
      `${name}: there is no program for ${platform} among the npm packages, which are for ${known.join(", ")}.`,
      "Build it with Rust: cargo install --locked --path FOLDER, in a copy of the repository.",
    );
  }
  try {
    return require.resolve(`${needed}/bin/${name}`);
  } catch {
    fail(
      `${name}: the package ${needed} is not installed, which has the program for this platform.`,
      "npm leaves it out with --omit=optional, and if node_modules comes from another platform. Install without that:",
      `npm install ${name}`,
    );
  }
}

const child = spawn(program(), process.argv.slice(2), { stdio: "inherit" });

// A terminal sends Ctrl-C to the program as well, for which a second one means "at once".
const atTerminal = [0, 1, 2].some((fd) => tty.isatty(fd));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    if (signal !== "SIGINT" || !atTerminal) child.kill(signal);
  });
}

child.on("error", (error) => fail(`${name}: ${error.message}`));
child.on("exit", (code, signal) => {
  process.exit(code ?? 128 + os.constants.signals[signal]);
});
