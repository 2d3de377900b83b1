// The stage of a test: edges as processes on random ports, Servers in this process, and official clients. Each wait
// has a deadline; nothing sleeps.
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import test from "node:test";
import { io } from "socket.io-client";

const require = createRequire(import.meta.url);
export const { Server } = require("../dist/index.js");

export const patience = 60_000; // milliseconds until a wait has failed; machines may be slow

const root = fileURLToPath(new URL("../../", import.meta.url));
export const bin = process.env.PARTYLINE_BIN ?? `${root}bin`;

// run starts a program and returns it with the addresses on which it listens.
async function run(name, args = [], environment = {}) {
  const path = `${bin}/${name}`;
  if (!existsSync(path)) {
    throw new Error(
      `${path} is not there; build it with \`make build\`, or set PARTYLINE_BIN to the folder of the programs`,
    );
  }
  const child = spawn(path, ["--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0", "--page=false", ...args], {
    env: { ...process.env, PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "service" } }), ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  let log = "";
  const found = new Promise((resolve, reject) => {
    const read = (chunk) => {
      log += chunk;
      for (const line of log.split("\n")) {
        if (line.includes('"msg":"listening"')) {
          resolve(JSON.parse(line));
        }
      }
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    exited.then(() => reject(new Error(`${name} ended: ${log}`)));
  });
  const at = await within(`${name} listens`, found);
  return {
    url: `http://${at.address}`,
    nats: at.nats,
    admin: `http://${at.admin}`,
    log: () => log,
    child,
    async end(signal = "SIGTERM") {
      child.kill(signal);
      await exited;
    },
  };
}

export class Stage {
  #ends = [];

  // embedded starts an edge with a NATS server inside.
  async embedded(args = [], environment) {
    const program = await run("embedded", ["--embedded.listen=127.0.0.1:0", ...args], environment);
    this.later(() => program.end());
    return program;
  }

  // edge starts another edge on a NATS server.
  async edge(nats, args = [], environment) {
    const program = await run("edge", [`--nats.url=${nats}`, ...args], environment);
    this.later(() => program.end());
    return program;
  }

  // server starts a Server. setUp is called before edges send clients to it.
  async server(nats, setUp = () => {}, options = {}) {
    const server = new Server({ nats, leaveOnSigterm: false, logger: this.logger, ...options });
    this.later(() => server.close());
    setUp(server);
    await within("the server is ready", server.ready());
    return server;
  }

  // isStarved is whether the machine did not run an instance for 2 seconds. Such an instance rightly loses events or sockets.
  isStarved = false;

  // mustRun throws in a scene that cannot go on because of that.
  mustRun() {
    if (this.isStarved) {
      throw new Error("an instance was starved");
    }
  }

  complaints = [];
  logger = { info() {}, warn: (text) => this.complaints.push(text), error: (text) => this.complaints.push(text) };

  // client starts an official client.
  client(url, namespace = "/", options = {}) {
    const client = io(url + namespace, {
      forceNew: true,
      transports: ["websocket"],
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
      ...options,
    });
    this.later(() => {
      client.off();
      client.io._close(); // with all sockets of the connection
    });
    return client;
  }

  // connected starts an official client and waits until it is connected.
  async connected(url, namespace, options) {
    const client = this.client(url, namespace, options);
    await got(client, "connect");
    return client;
  }

  later(end) {
    this.#ends.unshift(end);
  }

  async end() {
    for (const end of this.#ends) {
      await end();
    }
  }
}

// scene declares a test and gives it a Stage. What fails on a machine that starves an instance is left out, loudly.
export function scene(name, play, { timeout = 180_000 } = {}) {
  test(name, { timeout }, async () => {
    const stage = new Stage();
    try {
      await play(stage);
    } catch (error) {
      console.error(`complaints in “${name}”: ${JSON.stringify(stage.complaints, null, 1)}`);
      if (!stage.isStarved) {
        throw error;
      }
      console.log(`LEFT OUT: “${name}”: this machine did not run an instance for 2 s (${error.message})`);
    } finally {
      await within("the stage ends", stage.end());
    }
  });
}

export function within(what, promise, limit = patience) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// got waits for an event, and returns its arguments.
export function got(emitter, event) {
  return within(event, new Promise((resolve) => emitter.once(event, (...values) => resolve(values))));
}

// until polls for what no event announces.
export async function until(what, look) {
  for (const end = Date.now() + patience; ;) {
    const found = await look();
    if (found) {
      return found;
    }
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${patience} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// instance starts parts/instance.mjs as a process. said has what it has reported.
export async function instance(stage, nats, options = {}, environment = {}) {
  const child = fork(fileURLToPath(new URL("parts/instance.mjs", import.meta.url)), {
    env: { ...process.env, NATS_URL: nats, OPTIONS: JSON.stringify(options), ...environment },
  });
  const said = [];
  child.on("message", (message) => {
    said.push(message);
    stage.isStarved ||= message.starved > 0 || /cut off from NATS/.test(message.warning);
  });
  const exited = once(child, "exit");
  const end = async (signal) => {
    child.kill(signal);
    return within(`the instance ends after ${signal}`, exited);
  };
  stage.later(() => end("SIGKILL"));
  await until("the instance is ready", () => said.some((message) => message.ready));
  return { child, said, end };
}

// Load has clients emit echoes all the time, and counts what comes back.
export class Load {
  sent = 0;
  acked = 0;
  doubled = 0;
  disconnects = [];
  #stopped = false;
  #running = [];

  constructor(clients, every = 20) {
    for (const client of clients) {
      client.on("disconnect", (reason) => this.disconnects.push(reason));
      this.#running.push(this.#run(client, every));
    }
  }

  async #run(client, every) {
    while (!this.#stopped) {
      let answers = 0;
      this.sent++;
      client.emit("echo", this.sent, () => {
        answers++ ? this.doubled++ : this.acked++;
      });
      await new Promise((resolve) => setTimeout(resolve, every));
    }
  }

  async stop() {
    this.#stopped = true;
    await Promise.all(this.#running);
  }
}
