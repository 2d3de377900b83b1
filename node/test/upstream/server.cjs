// What the tests import as their package "..": the classes of this package, behind edges that nobody has started.
// An HTTP server passes the requests of clients on to the edge that the Server leases.
const { EventEmitter } = require("node:events");
const { createServer } = require("node:http");
const partyline = require("../../dist/index.js");
const { Proxy } = require("../../dist/proxy.js");
const { lease } = require("./edges.cjs");

/** Options of Socket.IO that are the edge's, as its flags. What no edge can do has none. */
const flagsOf = {
  path: (value) => [`--path=${value}`],
  cors: ({ origin, credentials }) => [
    `--cors.origins=${[origin].flat().join()}`,
    `--cors.credentials=${Boolean(credentials)}`,
  ],
  transports: (value) => [`--engine.transports=${value.join()}`],
  pingInterval: (value) => [`--engine.ping_interval=${value}ms`],
  pingTimeout: (value) => [`--engine.ping_timeout=${value}ms`],
  upgradeTimeout: (value) => [`--engine.upgrade_timeout=${value}ms`],
  maxHttpBufferSize: (value) => [`--engine.max_payload=${value}`],
  connectTimeout: (value) => [`--connect_timeout=${value}ms`],
  cookie: (value) => [`--cookie.name=${value.name}`],
  serveClient: () => [],
  allowEIO3: () => [],
  perMessageDeflate: () => [],
  adapter: () => [],
};

/** recoveryOf is the edge's setting for an option of Socket.IO. Its skipMiddlewares is the Server's own. */
function recoveryOf(option) {
  return option && { for: `${(option.maxDisconnectionDuration ?? 120_000) / 1000}s` };
}

const quiet = { warn() {} };

class Server extends partyline.Server {
  #edge;

  constructor(first, second) {
    const isHTTP = typeof first === "number" || typeof first?.listen === "function";
    const given = { ...(isHTTP || second ? second : first) };
    const flags = [];
    for (const [name, toFlags] of Object.entries(flagsOf)) {
      if (given[name] !== undefined) {
        flags.push(...toFlags(given[name]));
        delete given[name];
      }
    }
    const edge = lease(flags, Server.shared?.prefix, recoveryOf(given.connectionStateRecovery));
    super({
      nats: Server.shared?.nats ?? process.env.UPSTREAM_NATS,
      prefix: edge.prefix,
      leaveOnSigterm: false,
      ...given,
    });
    this.#edge = edge;
    if (isHTTP) {
      this.attach(first);
    }
  }

  /** edgeName is the first part of the ids of the sockets of the edge. */
  get edgeName() {
    return this.#edge.name;
  }

  /** The connection and the prefix that the Servers of one test share; without it, each has its own. */
  static shared;

  attach(http) {
    super.attach(typeof http === "number" ? createServer((_, res) => res.writeHead(404).end()).listen(http) : http);
    passOn(this.httpServer, this.#known());
    return this;
  }

  /** known waits until the edge has answered this Server's hello. It returns its URL. */
  async #known() {
    const url = await this.#edge.url;
    const { edges } = this.of("/").adapter.hub.instance;
    while (!edges.has(this.#edge.name)) {
      await new Promise((resolve) => setTimeout(resolve, 2).unref());
    }
    return url;
  }

  async close(done) {
    await super.close(done);
    this.#edge.release();
  }
}

/**
 * passOn has an HTTP server pass requests of clients on to an edge, whose URL it may have to wait for. New sessions
 * are passed on one behind the other: tests rely on the order in which one process of Node.js gets them.
 */
function passOn(http, url) {
  const behind = new EventEmitter(); // the HTTP server, as the proxy sees it
  let turn = url.then((found) => new Proxy(found, quiet).attach(behind));
  const pass = (req, answer, ...event) => {
    const passed = turn.then(
      () => behind.emit(...event),
      () => answer.destroy(),
    );
    if (!/[?&]sid=/.test(req.url)) {
      turn = passed.then(() => firstWrite(answer));
    }
  };
  const others = http.listeners("request");
  http.removeAllListeners("request");
  http.on("request", (req, res) => {
    if (req.url.startsWith("/socket.io")) {
      pass(req, res, "request", req, res);
    } else {
      others.forEach((listener) => listener.call(http, req, res));
    }
  });
  http.on("upgrade", (req, socket, head) => pass(req, socket, "upgrade", req, socket, head));
}

/** firstWrite resolves once something is written to a stream, or it is closed. */
function firstWrite(stream) {
  return new Promise((resolve) => {
    const { write, end } = stream;
    const done =
      (go) =>
      (...given) => {
        Object.assign(stream, { write, end });
        resolve();
        return go.apply(stream, given);
      };
    stream.write = done(write);
    stream.end = done(end);
    stream.once("close", resolve);
    stream.destroyed && resolve();
  });
}

module.exports = Object.assign((first, second) => new Server(first, second), partyline, { Server });
