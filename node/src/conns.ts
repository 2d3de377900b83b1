/** The sessions of which this instance was asked about a socket. */
import { randomBytes } from "node:crypto";
import { Conn } from "./conn";
import type { Hub } from "./hub";
import { makeRequest, runMiddlewares } from "./request";
import type { Handshake } from "./seat";

export class Conns {
  readonly #hub: Hub;
  /** By the public name of the session; sockets of edges that give none have a Conn each. */
  readonly #bySession = new Map<string, Conn>();
  /** What waits until the middlewares of io.engine have run. */
  readonly #preparing = new Map<Conn, ((error?: any) => void)[]>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** of returns the Conn of a socket that has asked. Its session has another one if it is in the namespace already. */
  of(h: Handshake, namespace: string): Conn {
    const found = h.session && this.#bySession.get(h.session);
    if (found && !found.seats.has(namespace)) {
      return found;
    }
    const id = (!found && h.session) || randomBytes(9).toString("base64url");
    const conn = new Conn(this.#hub, id, makeRequest(h), h.address, h.transport ?? h.query.transport ?? "websocket");
    if (id === h.session) {
      this.#bySession.set(id, conn);
    }
    return conn;
  }

  /** prepare runs the middlewares of io.engine, once for a Conn, and announces it to socket.io. */
  prepare(conn: Conn, done: (error?: any) => void): void {
    const { engine, options } = this.#hub;
    const waiting = this.#preparing.get(conn);
    if (waiting) {
      waiting.push(done);
      return;
    }
    if (engine.clients[conn.id] === conn) {
      return done();
    }
    const middlewares = [...engine.middlewares];
    if (options.allowRequest) {
      middlewares.unshift(allowing(options.allowRequest));
    }
    const list = [done];
    const finish = (error?: any) => {
      this.#preparing.delete(conn);
      if (!error && conn.readyState === "open") {
        engine.clients[conn.id] = conn;
        engine.clientsCount++;
        engine.emit("connection", conn);
      }
      list.forEach((next) => next(error));
    };
    if (middlewares.length === 0) {
      return finish();
    }
    this.#preparing.set(conn, list);
    runMiddlewares(middlewares, conn.request, finish);
  }

  /** leave has further sockets of a session that is being closed get another Conn. */
  leave(conn: Conn): void {
    if (this.#bySession.get(conn.id) === conn) {
      this.#bySession.delete(conn.id);
    }
  }

  /** forget forgets a Conn that has ended. */
  forget(conn: Conn): void {
    const { engine } = this.#hub;
    this.leave(conn);
    if (engine.clients[conn.id] === conn) {
      delete engine.clients[conn.id];
      engine.clientsCount--;
    }
  }
}

type AllowRequest = (req: any, done: (error: string | null | undefined, success: boolean) => void) => void;

function allowing(allow: AllowRequest) {
  return (req: any, _res: any, next: (error?: any) => void) =>
    allow(req, (error, success) => next(error || !success ? new Error(error || "Forbidden") : undefined));
}
