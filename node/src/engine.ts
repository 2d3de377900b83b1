/** EdgeEngine is `io.engine`: it stands for all edges in place of a server of engine.io. */
import { EventEmitter } from "node:events";
import type { Conn } from "./conn";
import type { EngineMiddleware } from "./request";

export class EdgeEngine extends EventEmitter {
  readonly middlewares: EngineMiddleware[] = [];
  /** The sessions of which this instance owns a socket, by the id of their Conn. */
  clients: Record<string, Conn> = {};
  clientsCount = 0;

  /** use adds a middleware that runs before a session's first socket connects, such as that of express-session. */
  use(middleware: EngineMiddleware): void {
    this.middlewares.push(middleware);
  }

  /** close closes all sessions. Their clients come back by themselves. */
  close(): this {
    Object.values(this.clients).forEach((conn) => conn.close());
    this.emit("closed");
    return this;
  }
}
