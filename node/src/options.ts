/** The options of Server: those of this package, and those of socket.io that are the edge's. */
import type { ServerOptions as SocketServerOptions } from "socket.io";
import type { NATSOption } from "./link";
import { consoleLogger } from "./log";
import type { Logger } from "./log";
import { tokensOf } from "./names";

/** What Server takes beside the options of socket.io that are not the edge's. */
export interface PartylineOptions {
  /**
   * Where NATS is: URLs, options of the NATS client, or a connection. Default: $NATS_URL, else
   * nats://127.0.0.1:4222.
   */
  nats: NATSOption;
  /** The first tokens of all subjects: the edges' nats.prefix. Default: sio. */
  prefix: string;
  /** What all instances of this program are called together: 1 to 55 characters A-Z a-z 0-9 _ -. Default: node. */
  group: string;
  /**
   * The namespaces, by name or pattern (* is any run of characters), of which this program owns the sockets. Clients
   * of others that it does not know are refused by another service. Default: all.
   */
  namespaces: string[];
  /**
   * What happens to the sockets of an instance that has died or left. takeover: another instance owns them, and no
   * client notices. reconnect: their clients' connections are closed, and they come back. Default: takeover.
   */
  onInstanceLoss: "takeover" | "reconnect";
  /**
   * What a plain emit does while NATS is away. report: it is dropped, and logged. throw: it throws. Default: report.
   */
  onOffline: "report" | "throw";
  /**
   * Where an edge listens, such as http://127.0.0.1:3000. Then the HTTP server passes the requests of clients on to
   * it, so that its own pages can connect. For development. Default: $PARTYLINE_EDGE, else none.
   */
  edge: string;
  /** The edges' edges.secret, if they have one: announcements of edges must be signed with it. */
  edgesSecret: string;
  /** Call leave() on SIGTERM. Default: true. */
  leaveOnSigterm: boolean;
  /** Where this package writes what no caller gets as an error. Default: console, warnings and errors alone. */
  logger: Logger;
}

export type ServerOptions = SocketServerOptions & PartylineOptions;

/** Settings are the options with their defaults. */
export interface Settings extends PartylineOptions {
  allowRequest?: (req: any, done: (error: string | null | undefined, success: boolean) => void) => void;
  /** Whether sockets that have come back are admitted without middlewares, unless the edges want a decision. */
  skipMiddlewares: boolean;
}

/** Options that are the edge's, and its setting: what a program would change there. */
const ofTheEdge: Record<string, string> = {
  path: "path",
  addTrailingSlash: "path",
  serveClient: "nothing: the edge serves no client; load it from your page's own server or a CDN",
  cors: "cors.origins and cors.credentials",
  transports: "engine.transports",
  pingInterval: "engine.ping_interval",
  pingTimeout: "engine.ping_timeout",
  upgradeTimeout: "engine.upgrade_timeout",
  maxHttpBufferSize: "engine.max_payload",
  allowUpgrades: "engine.transports",
  connectTimeout: "connect_timeout",
  cookie: "cookie.name",
  allowEIO3: "nothing: clients of version 2 cannot connect to an edge",
  perMessageDeflate: "nothing: the edge decides itself what it compresses",
  httpCompression: "nothing: the edge decides itself what it compresses",
  wsEngine: "nothing: the edge has a WebSocket server of its own",
  initialPacket: "nothing: the edge sends no initial packet",
  destroyUpgrade: "nothing: the edge has an HTTP server of its own",
  destroyUpgradeTimeout: "nothing: the edge has an HTTP server of its own",
  parser: "nothing: the edge finds out which encoding each client speaks",
  adapter: "nothing: NATS connects all instances, so no adapter is needed",
};

/** settings checks options. It throws if one is wrong, or is the edge's. */
export function settings(given: Partial<ServerOptions>): Settings {
  for (const [name, setting] of Object.entries(ofTheEdge)) {
    if ((given as any)[name] !== undefined) {
      throw new Error(
        `partyline: the option ${name} belongs to the edge, which holds the clients' connections; set ${setting} ` +
          "in the edge's configuration (docs/configuration.md), and leave the option out here",
      );
    }
  }
  const group = given.group ?? "node";
  if (!/^[A-Za-z0-9_-]{1,55}$/.test(group) || /^(?:all|room|socket)$/.test(group)) {
    throw new Error(
      `partyline: option group: ${JSON.stringify(group)} must be 1 to 55 characters of A-Z, a-z, 0-9, _ and -, ` +
        "and none of all, room, socket",
    );
  }
  tokensOf(given.namespaces ?? []); // throws if no subject can have one
  oneOf(given, "onInstanceLoss", ["takeover", "reconnect"]);
  oneOf(given, "onOffline", ["report", "throw"]);
  return {
    nats: given.nats ?? process.env.NATS_URL ?? "nats://127.0.0.1:4222",
    prefix: given.prefix ?? "sio",
    group,
    namespaces: given.namespaces ?? ["/*"],
    onInstanceLoss: given.onInstanceLoss ?? "takeover",
    onOffline: given.onOffline ?? "report",
    edge: given.edge ?? process.env.PARTYLINE_EDGE ?? "",
    edgesSecret: given.edgesSecret ?? "",
    leaveOnSigterm: given.leaveOnSigterm ?? true,
    logger: given.logger ?? consoleLogger,
    allowRequest: given.allowRequest,
    skipMiddlewares: given.connectionStateRecovery?.skipMiddlewares !== false,
  };
}

function oneOf(given: Partial<ServerOptions>, name: "onInstanceLoss" | "onOffline", words: string[]): void {
  const value = given[name];
  if (value !== undefined && !words.includes(value)) {
    throw new Error(`partyline: option ${name}: ${JSON.stringify(value)} must be one of ${words.join(", ")}`);
  }
}
