// Makes the npm packages: `node pack.js PROGRAM FOLDER` leaves two tarballs in FOLDER, the package that
// users name, with the launcher, and the one that has the program for this platform. Reads from
// standard input what `cargo metadata` says: no package.json is kept, and the version is Cargo.toml's.

"use strict";

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const NAME = "chatkit-rest";
/** Where the program is built for: on each of these platforms packaging/build.sh makes its package. */
const PLATFORMS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];

const [program, folder] = process.argv.slice(2);
const { packages } = JSON.parse(fs.readFileSync(0, "utf8"));
const { version, license, description, keywords } = packages.find((it) => it.name === NAME);
const root = path.join(__dirname, "../..");
const platform = `${process.platform}-${process.arch}`;
if (!PLATFORMS.includes(platform)) {
  throw new Error(`${platform} is not among the platforms of packaging/npm/pack.js: ${PLATFORMS.join(", ")}`);
}

/** Packs a folder of these files, each with the path it is copied from, and this package.json. */
function pack(manifest, files) {
  const place = fs.mkdtempSync(path.join(os.tmpdir(), `${NAME}-npm-`));
  try {
    for (const license of ["LICENSE-MIT", "LICENSE-APACHE"]) {
      files[license] = path.join(root, license);
    }
    for (const [name, from] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(place, name)), { recursive: true });
      fs.copyFileSync(from, path.join(place, name));
      fs.chmodSync(path.join(place, name), fs.statSync(from).mode & 0o111 ? 0o755 : 0o644);
    }
    const all = { ...manifest, version, license, keywords, files: Object.keys(files) };
    fs.writeFileSync(path.join(place, "package.json"), `${JSON.stringify(all, null, 2)}\n`);
    execFileSync("npm", ["pack", place, "--pack-destination", folder, "--loglevel=error"], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  } finally {
    fs.rmSync(place, { recursive: true });
  }
}

pack(
  {
    name: NAME,
    description,
    bin: { [NAME]: "launcher.js" },
    optionalDependencies: Object.fromEntries(PLATFORMS.map((it) => [`${NAME}-${it}`, version])),
    engines: { node: ">=18" },
  },
  {
    "launcher.js": path.join(__dirname, "launcher.js"),
    "README.md": path.join(root, "README.md"),
  },
);
pack(
  {
    name: `${NAME}-${platform}`,
    description: `The program of ${NAME} for ${platform}`,
    os: [process.platform],
    cpu: [process.arch],
    // Of Linux with another libc, such as Alpine's, npm then says so instead of installing it.
    ...(process.platform === "linux" ? { libc: ["glibc"] } : {}),
    preferUnplugged: true,
  },
  { [`bin/${NAME}`]: program },
);
