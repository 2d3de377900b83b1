// `npx partyline dev`: an edge with NATS inside, and a program beside it.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bin, got, scene, until, within } from "./stage.mjs";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const site = fileURLToPath(new URL("parts/site.mjs", import.meta.url));
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PARTYLINE_")));
const onFreePorts = {
  PARTYLINE_EMBEDDED_LISTEN: "127.0.0.1:0",
  PARTYLINE_LISTEN: "127.0.0.1:0",
  PARTYLINE_ADMIN_LISTEN: "127.0.0.1:0",
};

// run starts `partyline` in an empty folder.
function run(stage, args, environment = { PARTYLINE_EMBEDDED: `${bin}/embedded` }) {
  const folder = mkdtempSync(join(tmpdir(), "partyline-"));
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: folder,
    env: { ...inherited, ...onFreePorts, ...environment },
  });
  const exited = once(child, "exit");
  const it = {
    child,
    folder,
    out: "",
    err: "",
    end: async (signal = "SIGTERM") => {
      child.kill(signal);
      return it.exited();
    },
    exited: async () => (await within("partyline ends", exited))[0],
  };
  child.stdout.on("data", (chunk) => (it.out += chunk));
  child.stderr.on("data", (chunk) => (it.err += chunk));
  stage.later(async () => {
    if (child.exitCode === null) {
      await it.end();
    }
    rmSync(folder, { recursive: true });
  });
  return it;
}

const isAway = async (url) =>
  fetch(url).then(
    () => false,
    () => true,
  );

scene("a program beside an edge; both end together", async (stage) => {
  const it = run(stage, ["dev", process.execPath, site]);
  const { port } = JSON.parse(await until("the program listens", () => it.out));
  const url = `http://127.0.0.1:${port}`;
  assert.match(await (await fetch(url)).text(), /socket\.io\.js/);
  assert.match(await (await fetch(`${url}/socket.io/socket.io.js`)).text(), /Socket\.IO/);
  const client = await stage.connected(url, "/", { transports: ["polling", "websocket"] });
  assert.equal(await client.timeout(10_000).emitWithAck("echo", 7), 7);
  const [, edge] = /an edge at (\S+), with NATS at nats:/.exec(it.err);
  assert.equal(await isAway(edge), false);
  const gone = got(client, "disconnect");
  await it.end("SIGINT");
  await gone;
  assert.ok(await isAway(edge), "the edge has ended");
  assert.doesNotMatch(it.err, /edge: |unknown environment/);
});

scene("the status is the program's; a program that is not there is 127", async (stage) => {
  const failing = run(stage, ["dev", process.execPath, site, "fail"]);
  assert.equal(await failing.exited(), 7);
  const absent = run(stage, ["dev", "no-such-program"]);
  assert.equal(await absent.exited(), 127);
  assert.match(absent.err, /no-such-program does not start/);
});

scene("without a program it runs the edge, and says what to set", async (stage) => {
  const it = run(stage, ["dev"]);
  const [, nats, edge] = await until("the addresses", () => /NATS_URL=(\S+) PARTYLINE_EDGE=(\S+)\n/.exec(it.err));
  const server = await stage.server(nats, (io) => io.of("/chat_room").on("connection", (s) => s.emit("hello", 1)));
  assert.deepEqual(await got(stage.client(edge, "/chat_room"), "hello"), [1]);
  await server.close();
  assert.equal(await it.end(), 0);
});

scene("the edge is found at $PARTYLINE_EMBEDDED, in ./bin and in PATH; else it says what to do", async (stage) => {
  const path = dirname(process.execPath);
  const none = run(stage, ["dev", "true"], { PATH: path });
  assert.equal(await none.exited(), 1);
  assert.match(
    none.err,
    /there is no edge: neither \$PARTYLINE_EMBEDDED, nor bin.embedded here, nor "embedded" in PATH[^]*make build/,
  );
  const wrong = run(stage, ["dev", "true"], { PARTYLINE_EMBEDDED: "/nowhere/embedded" });
  assert.equal(await wrong.exited(), 1);
  assert.match(wrong.err, /\$PARTYLINE_EMBEDDED is \/nowhere\/embedded, which is no program/);
  const inPath = run(stage, ["dev", process.execPath, "-e", "console.log(process.env.NATS_URL)"], {
    PATH: `${path}:${bin}`,
  });
  assert.equal(await inPath.exited(), 0);
  assert.match(inPath.out, /^nats:/);

  const folder = mkdtempSync(join(tmpdir(), "partyline-"));
  stage.later(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "bin"));
  symlinkSync(`${bin}/embedded`, join(folder, "bin", "embedded"));
  // A configuration counts: the first one asks for the page, which is off by default; the second has a fault.
  writeFileSync(join(folder, "partyline.yaml"), 'page: true\nnamespaces:\n  "/only": {connect: open}\n');
  const options = { cwd: folder, env: { ...inherited, ...onFreePorts, PATH: path }, encoding: "utf8" };
  const program = "fetch(process.env.PARTYLINE_EDGE).then((r) => console.log(r.status))";
  assert.equal(execFileSync(process.execPath, [cli, "dev", process.execPath, "-e", program], options).trim(), "200");
  writeFileSync(join(folder, "partyline.yaml"), "nonsense: 1\n");
  assert.throws(() => execFileSync(process.execPath, [cli, "dev", "true"], { ...options, stdio: "pipe" }), /nonsense/);
});

scene("the usage", async (stage) => {
  const help = run(stage, ["--help"]);
  assert.equal(await help.exited(), 0);
  assert.match(help.out, /Usage: partyline dev/);
  const wrong = run(stage, ["serve"]);
  assert.equal(await wrong.exited(), 2);
});
