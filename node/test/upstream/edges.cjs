// The edges of the tests: each Server leases a process of bin/edge with a nats.prefix of its own. Some are kept warm,
// because tests allow a client only 200 milliseconds.
const { spawn } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const { get } = require("node:http");

/** How many edges are kept ready, by their flags. */
const warm = new Map(Object.entries(JSON.parse(process.env.UPSTREAM_WARM || "{}")));

/** How long an edge goes on after its Server was closed, in milliseconds: what clients see must not come from here. */
const goesOn = 1000;

/** The flags of an edge with recovery. Each has streams of its own, so they are small. */
const logFlags = ["--recovery.storage=memory", "--recovery.max_bytes=16MiB"];

const running = new Set();
/** The edges that are kept ready, by their flags. */
const ready = new Map([...warm.keys()].map((flags) => [flags, []]));

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

class Edge {
  constructor(prefix, flags, recovery) {
    this.prefix = prefix;
    this.child = spawn(
      `${process.env.UPSTREAM_BIN}/edge`,
      [
        "--listen=127.0.0.1:0",
        "--admin.listen=127.0.0.1:0",
        "--page=false",
        "--trusted_proxies=127.0.0.1,::1",
        `--nats.url=${process.env.UPSTREAM_NATS}`,
        `--nats.prefix=${prefix}`,
        ...flags,
      ],
      {
        env: { ...process.env, PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "service", recovery } }) },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    running.add(this.child);
    this.child.unref();
    this.child.stderr.unref();
    /** The first part of the ids of its sockets, once it is ready. */
    this.name = undefined;
    /** Where the edge listens, once it is ready. */
    this.url = this.#listening().then(async (at) => {
      await readyAt(at.admin);
      return `http://${at.address}`;
    });
    this.url.catch(() => {});
  }

  #listening() {
    let log = "";
    let at;
    return new Promise((resolve, reject) => {
      this.child.stderr.on("data", (chunk) => {
        log += chunk;
        const lines = log.split("\n");
        log = lines.pop();
        for (const line of lines.map((text) => JSON.parse(text))) {
          at = line.msg === "listening" ? line : at;
          this.name ??= line.edge;
        }
        at && this.name && resolve(at);
      });
      this.child.on("exit", () => {
        running.delete(this.child);
        reject(new Error(`an edge ended: ${log}`));
      });
    });
  }

  /** release ends the edge a little later. It is not used again: it may still seek owners for sockets of its clients. */
  release() {
    setTimeout(() => this.child.kill("SIGKILL"), goesOn).unref();
  }
}

/** readyAt waits until an edge is ready. */
function readyAt(admin) {
  return new Promise((resolve) => {
    const look = () =>
      get(`http://${admin}/readyz`, { agent: false }, (answer) => {
        answer.resume();
        answer.statusCode === 200 ? resolve() : setTimeout(look, 5);
      }).on("error", () => setTimeout(look, 5));
    look();
  });
}

function newPrefix() {
  return `up${randomBytes(6).toString("hex")}`;
}

function refill() {
  for (const [flags, edges] of ready) {
    while (edges.length < warm.get(flags)) {
      edges.push(new Edge(newPrefix(), flags.split(" ").filter(Boolean)));
    }
  }
}

/** lease returns an edge with these flags, with this prefix if one is given, and with recovery if it is given. */
function lease(flags = [], prefix, recovery) {
  const edge = !prefix && !recovery && ready.get(flags.join(" "))?.shift();
  setImmediate(refill);
  return edge || new Edge(prefix ?? newPrefix(), recovery ? [...flags, ...logFlags] : flags, recovery);
}

/** warmUp resolves once the edges that are kept ready are. */
async function warmUp() {
  refill();
  const awake = setInterval(() => {}, 1000); // edges keep no process running
  await Promise.all([...ready.values()].flat().map((edge) => edge.url));
  clearInterval(awake);
}

module.exports = { lease, newPrefix, warmUp };
