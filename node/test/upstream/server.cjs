// What the tests import as their package "..": the classes of this package, behind edges that nobody has started. An HTTP
// server passes the requests of clients on to the edge that the Server leases.
const { EventEmitter } = require("node:events");
const { createServer } = require("node:http");
const partyline = require("../../dist/index.js");
const { Proxy } = require("../../dist/proxy.js");
const { lease } = require("./edges.cjs");

/** Options of Socket.IO that are the edge's, as its flags. What no edge can do has none. */
const flagsOf = {
  path: (value) => [`--path=${value}`],
  cors: ({ origin, credentials }) => [`--cors.origins=${[origin].flat().join()}`, `--cors.credentials=${Boolean(credentials)}`],
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
    const edge = lease(flags, Server.prefix);
    super({ nats: process.env.UPSTREAM_NATS, prefix: edge.prefix, leaveOnSigterm: false, ...given });
    this.#edge = edge;
    if (isHTTP) {
      this.attach(first);
    }
  }

  /** edgeName is the first part of the ids of the sockets of the edge. */
  get edgeName() {
    return this.#edge.name;
  }

  /** The prefix that the Servers of one test share; without one, each has its own. */
  static prefix;

  attach(http) {
    this.httpServer = typeof http === "number" ? createServer().listen(http) : http;
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

/** passOn has an HTTP server pass requests of clients on to an edge, whose URL it may have to wait for. */
function passOn(http, url) {
  const behind = new EventEmitter(); // the HTTP server, as the proxy sees it
  const isOpen = url.then((found) => new Proxy(found).attach(behind));
  const others = http.listeners("request");
  http.removeAllListeners("request");
  http.on("request", (req, res) => {
    if (req.url.startsWith("/socket.io")) {
      isOpen.then(() => behind.emit("request", req, res), () => res.destroy());
    } else {
      others.forEach((listener) => listener.call(http, req, res));
    }
  });
  http.on("upgrade", (req, socket, head) => isOpen.then(() => behind.emit("upgrade", req, socket, head), () => socket.destroy()));
}

module.exports = Object.assign((first, second) => new Server(first, second), partyline, { Server });
