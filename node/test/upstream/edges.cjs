// The edges of the tests: each Server leases a process of bin/edge with a nats.prefix of its own. Some are kept warm, and
// used again, because tests allow a client only 200 milliseconds.
const { spawn } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const { get } = require("node:http");

/** How many edges are kept ready, by their flags. */
const warm = new Map(Object.entries(JSON.parse(process.env.UPSTREAM_WARM || "{}")));

/** How long an edge is left alone after its Server has been closed, in milliseconds: what clients see must not come from here. */
const restAfter = 1000;

const running = new Set();
/** The edges that are kept ready, by their flags. */
const ready = new Map([...warm.keys()].map((flags) => [flags, []]));

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

class Edge {
  constructor(prefix, flags) {
    this.prefix = prefix;
    this.flags = flags.join(" ");
    this.child = spawn(`${process.env.UPSTREAM_BIN}/edge`, [
      "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0", "--page=false", "--trusted_proxies=127.0.0.1,::1",
      `--nats.url=${process.env.UPSTREAM_NATS}`, `--nats.prefix=${prefix}`, ...flags,
    ], {
      env: { ...process.env, PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "service" } }) },
      stdio: ["ignore", "ignore", "pipe"],
    });
    running.add(this.child);
    this.child.unref();
    this.child.stderr.unref();
    /** The first part of the ids of its sockets, once it is ready. */
    this.name = undefined;
    /** Where the edge listens, once it is ready. */
    this.url = this.#listening().then(async (at) => {
      this.admin = at.admin;
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

  /** release makes the edge one that is kept ready if no session is left, else ends it. */
  release() {
    setTimeout(async () => {
      const edges = ready.get(this.flags);
      edges && (await this.#sessions()) === 0 ? edges.push(this) : this.child.kill("SIGKILL");
    }, restAfter).unref();
  }

  /** sessions is how many there are: those that no Server has admitted wait, and would go to the next one. */
  async #sessions() {
    const metrics = await fetch(`http://${this.admin}/metrics`).then((answer) => answer.text()).catch(() => "");
    return Number(/^partyline_sessions (\d+)$/m.exec(metrics)?.[1]);
  }
}

/** readyAt waits until an edge is ready. */
function readyAt(admin) {
  return new Promise((resolve) => {
    const look = () => get(`http://${admin}/readyz`, { agent: false }, (answer) => {
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

/** lease returns an edge with these flags, and with this prefix if one is given. */
function lease(flags = [], prefix) {
  const edge = !prefix && ready.get(flags.join(" "))?.shift();
  setImmediate(refill);
  return edge || new Edge(prefix ?? newPrefix(), flags);
}

/** warmUp resolves once the edges that are kept ready are. */
async function warmUp() {
  refill();
  const awake = setInterval(() => {}, 1000); // edges keep no process running
  await Promise.all([...ready.values()].flat().map((edge) => edge.url));
  clearInterval(awake);
}

module.exports = { lease, newPrefix, warmUp };
