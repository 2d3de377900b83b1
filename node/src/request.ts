/** `socket.request`: the HTTP request with which the session began, as the edge describes it. */
import { ServerResponse } from "node:http";
import type { IncomingMessage } from "node:http";
import type { Handshake } from "./seat";

/** makeRequest returns an object with the members of a request that middlewares use. It reads no body. */
export function makeRequest(h: Handshake): IncomingMessage {
  const connection = {
    remoteAddress: h.address,
    encrypted: h.secure,
    readable: false,
    writable: false,
    destroyed: false,
  };
  return {
    headers: h.headers,
    url: h.url,
    method: "GET",
    httpVersion: "1.1",
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    complete: true,
    connection,
    socket: connection,
    _query: h.query,
  } as unknown as IncomingMessage;
}

export type EngineMiddleware = (req: any, res: any, next: (error?: any) => void) => void;

/** runMiddlewares runs those of io.engine.use in order. Their response goes nowhere. */
export function runMiddlewares(list: EngineMiddleware[], req: IncomingMessage, done: (error?: any) => void): void {
  const res = new ServerResponse(req);
  (req as any).res = res;
  const run = (i: number) => {
    if (i === list.length) {
      return done();
    }
    let called = false;
    const next = (error?: any) => {
      if (called) {
        return;
      }
      called = true;
      error ? done(error) : run(i + 1);
    };
    try {
      list[i](req, res, next);
    } catch (error) {
      next(error);
    }
  };
  run(0);
}
