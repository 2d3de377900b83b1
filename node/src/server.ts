/** Server is that of socket.io, whose clients are connected to edges. */
import { createServer } from "node:http";
import type { Server as HTTPServer } from "node:http";
import { Server as SocketServer } from "socket.io";
import type { DefaultEventsMap } from "socket.io";
import { EdgeAdapter } from "./adapter";
import "./follow";
import type { Member } from "./follow";
import type { Grant } from "./grant";
import { Hub } from "./hub";
import { settings } from "./options";
import type { ServerOptions } from "./options";
import { identityParser } from "./parser";
import { Proxy } from "./proxy";
import { leaveOnSigterm } from "./sigterm";

interface EventsMap {
  [event: string]: any;
}

/** How long leave waits for edges, in milliseconds. */
const leaveAtMost = 15_000;

/** How long leave waits for acks of handlers that have begun, in milliseconds. */
const acksAtMost = 5000;

export class Server<
  ListenEvents extends EventsMap = DefaultEventsMap,
  EmitEvents extends EventsMap = ListenEvents,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
  SocketData = any,
> extends SocketServer<ListenEvents, EmitEvents, ServerSideEvents, SocketData> {
  readonly #hub: Hub;
  #ready: Promise<void>;
  #ended: Promise<void> | undefined;
  #ignoreSigterm: (() => void) | undefined;
  readonly #proxy: Proxy | undefined;

  /**
   * A server of socket.io. The HTTP server, if given, is only closed by close(): clients connect to the edge.
   * Options of socket.io that are the edge's throw.
   */
  constructor(options?: Partial<ServerOptions>);
  constructor(http: HTTPServer | object | number | undefined, options?: Partial<ServerOptions>);
  constructor(first?: any, second?: Partial<ServerOptions>) {
    const isHTTP = typeof first === "number" || typeof first?.listen === "function";
    const given: any = (isHTTP || second ? second : first) ?? {};
    const checked = settings(given);
    const hub = new Hub(checked);
    super(undefined, {
      cleanupEmptyChildNamespaces: given.cleanupEmptyChildNamespaces,
      serveClient: false,
      parser: identityParser,
      adapter: class extends EdgeAdapter {
        constructor(nsp: any) {
          super(nsp, hub);
        }
      } as any,
    });
    this.#hub = hub;
    hub.server = this;
    this.#proxy = checked.edge ? new Proxy(checked.edge, hub.log) : undefined;
    if (given.connectionStateRecovery?.maxDisconnectionDuration !== undefined) {
      hub.log.warn(
        "the option maxDisconnectionDuration does nothing: how long a client may be away is recovery.for of its " +
          "namespace in the edge's configuration (docs/configuration.md)",
      );
    }
    if (isHTTP) {
      this.attach(first);
    }
    this.bind(hub.engine);
    this.#ready = this.#begin();
  }

  #begin(ended?: Promise<void>): Promise<void> {
    const { link, options } = this.#hub;
    const again = ended?.then(() => {
      link.reopen();
      return this.#start();
    });
    const ready = again ?? this.#start();
    ready.catch((error) => this.#ended ?? options.logger.error(`partyline: the server did not start: ${error.message}`));
    return ready;
  }

  async #start(): Promise<void> {
    const { link, instance, services } = this.#hub;
    await link.open(() => {
      instance.subscribe();
      services.start();
    });
    await instance.start();
    if (this.#hub.options.leaveOnSigterm) {
      this.#ignoreSigterm = leaveOnSigterm(this);
    }
  }

  /** ready is resolved once edges may send clients to this instance, and rejected if NATS cannot be reached. */
  ready(): Promise<void> {
    return this.#ready;
  }

  /** instance is the name of this instance for edges. It changes if the instance was cut off from NATS. */
  get instance(): string {
    return this.#hub.instance.name;
  }

  /** attach starts this server again if it was closed, as listen does. */
  override attach(http: any, _options?: any): this {
    if (typeof http === "number" && !this.#proxy) {
      throw new Error(
        `partyline: this process does not listen for clients; set listen in the edge's configuration to port ${http}, ` +
          "or set the option edge, for development",
      );
    }
    if (this.#ended) {
      this.#ready = this.#begin(this.#ended);
      this.#ended = undefined;
    }
    this.httpServer = typeof http === "number" ? createServer().listen(http) : http;
    this.#proxy?.attach(this.httpServer as HTTPServer);
    return this;
  }

  override listen(http: any, options?: any): this {
    return this.attach(http, options);
  }

  /**
   * leave hands all sockets over to other instances, which no client notices. When it has resolved, this server owns
   * nothing, and the process may exit. io.engine emits "handover" with each socket.
   */
  leave(): Promise<void> {
    this.#ended ??= this.#leave();
    return this.#ended;
  }

  async #leave(): Promise<void> {
    const hub = this.#hub;
    if (hub.link.isOpen) {
      await this.#ready.catch(() => {});
      await hub.instance.leave(leaveAtMost);
      await hub.acks.finished(acksAtMost); // handlers that are slower may still answer
    }
    await this.#end();
  }

  /** setGrant changes what all sockets of the namespace "/" are and may do, as that of `io.to(room)` does. */
  setGrant(grant: Grant): Promise<number> {
    return this.sockets.setGrant(grant);
  }

  /** follow calls changed with the members of a room of the namespace "/", as that of `io.of(name)` does. */
  follow(room: string, changed: (joined: Member[], left: Member[]) => void): () => void {
    return this.sockets.follow(room, changed);
  }

  /** close ends all clients' connections; they come back to other instances. It also closes the HTTP server. */
  override async close(done?: (error?: Error) => void): Promise<void> {
    const hub = this.#hub;
    hub.engine.once("closed", () => {
      this.#ended ??= this.#goodbye();
      void this.#ended.finally(() => this.#proxy?.close()).catch(() => {}); // the HTTP server waits for what is open
    });
    if (hub.link.isOpen && !this.#ended) {
      await this.#ready.catch(() => {});
      hub.instance.state = "left"; // edges are to ask others
    }
    await super.close(done);
    await this.#ended;
  }

  async #goodbye(): Promise<void> {
    if (this.#hub.link.isOpen) {
      await this.#hub.instance.end("bye");
    }
    await this.#end();
  }

  async #end(): Promise<void> {
    this.#ignoreSigterm?.();
    this.#hub.followers.forEach((follower) => follower.stop());
    Object.values(this.#hub.engine.clients).forEach((conn) => conn.closed("transport close"));
    await this.#hub.link.close();
  }
}
