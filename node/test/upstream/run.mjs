// Plays Socket.IO's own server tests, which are not in this repository, against this package. See README.md.
//
//   node node/test/upstream/run.mjs [--all] [--grep=WORDS] [--retries=N] FOLDER
//   node node/test/upstream/run.mjs --adapter [--all] [--grep=WORDS] [--retries=N] FOLDER
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as skips from "./skipped.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "../../..");
const bin = process.env.PARTYLINE_BIN ?? join(root, "bin");

const {
  values: options,
  positionals: [folder],
} = parseArgs({
  allowPositionals: true,
  options: {
    adapter: { type: "boolean" },
    all: { type: "boolean" },
    grep: { type: "string" },
    retries: { type: "string" },
  },
});

/** How many edges are kept ready, by their flags: tests allow a client 200 milliseconds. */
const warm = { "": 6, "--engine.transports=polling": 3, "--engine.transports=websocket": 4 };

/** need ends the process if a file is missing. */
function need(path, what) {
  if (!existsSync(path)) {
    console.error(`${path} is not there: ${what}`);
    process.exit(2);
  }
}

if (!folder) {
  console.error("Usage: node node/test/upstream/run.mjs [--adapter] [--all] [--grep=WORDS] [--retries=N] FOLDER");
  process.exit(2);
}
need(
  join(folder, options.adapter ? "cluster-adapter.ts" : "socket.ts"),
  "FOLDER is not the reference's folder of tests; see README.md",
);
need(join(bin, "edge"), "run `make build`");
need(join(here, "../../dist/index.js"), "run `make node`");
if (!existsSync(join(here, "node_modules"))) {
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: here,
    stdio: "inherit",
  });
}

/** stage makes a package around a copy of the tests, with what they import. It returns the tests' folder. */
function stage(work) {
  const put = (path, text) => {
    mkdirSync(join(work, path, ".."), { recursive: true });
    writeFileSync(join(work, path), text);
  };
  const stub = (path, main, more = {}) => {
    put(`${path}/index.cjs`, `module.exports = ${main};\n`);
    put(`${path}/package.json`, JSON.stringify({ name: "stub", version: "4.8.4", main: "index.cjs", ...more }));
  };
  const file = (name) => `require(${JSON.stringify(join(here, name))})`;
  if (options.adapter) {
    stub("tests/lib", "require('socket.io-adapter')");
    stub("tests/node_modules/socket.io", file("cluster.cjs"));
  } else {
    stub("tests", file("server.cjs"));
  }
  symlinkSync(join(here, "node_modules"), join(work, "node_modules"));
  cpSync(folder, join(work, "tests/test"), { recursive: true });
  standIn(
    "big.json",
    JSON.stringify(Array.from({ length: 10_000 }, (_, i) => ({ number: i, text: `the row ${i}` }))),
  );
  standIn("big.jpg", randomBytes(500_000));
  return join(work, "tests/test");
}

/** standIn makes a large file of the tests, if the folder has come without. */
function standIn(name, content) {
  const path = join(work, "tests/test/fixtures", name);
  if (!options.adapter && !(existsSync(path) && statSync(path).size > 0)) {
    writeFileSync(path, content);
  }
}

/** nats starts a NATS server. */
async function nats() {
  const child = spawn(
    join(bin, "embedded"),
    [
      "--embedded.listen=127.0.0.1:0",
      "--listen=127.0.0.1:0",
      "--admin.listen=127.0.0.1:0",
      "--page=false",
      `--embedded.jetstream.dir=${join(work, "jetstream")}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  process.on("exit", () => child.kill());
  const url = await new Promise((resolve, reject) => {
    let log = "";
    child.stderr.on("data", (chunk) => {
      log += chunk;
      const found = /"nats":"([^"]+)"/.exec(log);
      found && resolve(found[1]);
    });
    child.on("exit", () => reject(new Error(`NATS ended: ${log}`)));
  });
  return url;
}

const work = mkdtempSync(join(tmpdir(), "upstream-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));
const tests = stage(work);
const names = options.adapter
  ? ["cluster-adapter.ts"]
  : readdirSync(tests).filter(
      (name) => name.endsWith(".ts") && name !== "index.ts" && !name.endsWith(".test-d.ts") && !(name in skips.files),
    );

const player = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), join(here, "play.mjs")], {
  cwd: work,
  detached: true, // with all that it starts, one group
  stdio: "inherit",
  env: {
    ...process.env,
    UPSTREAM_BIN: bin,
    UPSTREAM_NATS: await nats(),
    UPSTREAM_WARM: JSON.stringify(options.adapter ? {} : warm),
    UPSTREAM_CLUSTER: options.adapter ? "true" : "",
    UPSTREAM_PLAY: JSON.stringify({
      files: names.map((name) => join(tests, name)),
      skipped: options.adapter ? skips.adapter : skips.server,
      all: options.all,
      grep: options.grep,
      retries: Number(options.retries ?? 0),
    }),
  },
});
const endAll = () => {
  try {
    process.kill(-player.pid, "SIGKILL");
  } catch {
    // it has ended
  }
};
process.on("SIGINT", () => process.exit(1));
process.on("SIGTERM", () => process.exit(1));
process.on("exit", endAll);
const [code] = await once(player, "exit");
process.exit(code ?? 1);
