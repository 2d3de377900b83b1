/** Server is that of socket.io, whose clients are connected to edges. */
import type { Server as HTTPServer } from "node:http";
import { Server as SocketServer } from "socket.io";
import type { DefaultEventsMap } from "socket.io";
import { EdgeAdapter } from "./adapter";
import { Hub } from "./hub";
import { settings } from "./options";
import type { ServerOptions } from "./options";
import { identityParser } from "./parser";

interface EventsMap {
  [event: string]: any;
}

/** How long leave waits for edges, in milliseconds. */
const leaveAtMost = 10_000;

export class Server<
  ListenEvents extends EventsMap = DefaultEventsMap,
  EmitEvents extends EventsMap = ListenEvents,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
  SocketData = any,
> extends SocketServer<ListenEvents, EmitEvents, ServerSideEvents, SocketData> {
  readonly #hub: Hub;
  readonly #ready: Promise<void>;
  #ended: Promise<void> | undefined;

  /**
   * A server of socket.io. The HTTP server, if given, is only closed by close(): clients connect to the edge. Options of
   * socket.io that are the edge's throw.
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
    if (given.connectionStateRecovery) {
      hub.log.warn("the option connectionStateRecovery does nothing yet: what a client misses while it is away is lost");
    }
    if (isHTTP) {
      this.attach(first);
    }
    this.bind(hub.engine);
    this.#ready = this.#start();
    this.#ready.catch((error) => checked.logger.error(`partyline: NATS cannot be reached: ${error.message}`));
  }

  async #start(): Promise<void> {
    const { link, instance, services } = this.#hub;
    await link.open(() => {
      instance.subscribe();
      services.start(this);
    });
    await instance.start();
    if (this.#hub.options.leaveOnSigterm) {
      process.once("SIGTERM", this.#onSigterm);
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

  override attach(http: any, _options?: any): this {
    if (typeof http === "number") {
      throw new Error(`partyline: this process does not listen for clients; set listen in the edge's configuration to port ${http}`);
    }
    this.httpServer = http;
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
    await this.#ready.catch(() => {});
    const hub = this.#hub;
    await hub.instance.leave(leaveAtMost, (seat) => {
      hub.data.publish(seat);
      const { socket, conn } = seat;
      hub.remove(seat);
      if (socket?.connected) {
        hub.engine.emit("handover", socket, "leaving");
        (socket as any).connected = false;
        socket._cleanup();
      }
      if (conn.seats.size === 0) {
        conn.closed("transport close");
      }
    });
    process.removeListener("SIGTERM", this.#onSigterm);
    await hub.link.close();
  }

  /** close ends all clients' connections; they come back to other instances. It also closes the HTTP server. */
  override async close(done?: (error?: Error) => void): Promise<void> {
    const hub = this.#hub;
    if (!this.#ended) {
      await this.#ready.catch(() => {});
      hub.instance.state = "left"; // edges are to ask others
    }
    await super.close(done);
    this.#ended ??= this.#close();
    await this.#ended;
  }

  async #close(): Promise<void> {
    process.removeListener("SIGTERM", this.#onSigterm);
    if (this.#hub.link.nc) {
      await this.#hub.instance.end("bye");
    }
    await this.#hub.link.close();
  }

  readonly #onSigterm = (): void => {
    const isAlone = process.listenerCount("SIGTERM") === 0;
    void this.leave().finally(() => {
      if (isAlone && process.listenerCount("SIGTERM") === 0) {
        process.kill(process.pid, "SIGTERM"); // as if there had been no listener
      }
    });
  };
}
