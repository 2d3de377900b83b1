/**
 * The proxy for development: an HTTP server passes the requests of clients on to an edge, so that a page that it
 * serves can connect with a plain `io()`. In production clients, or the proxy in front, reach edges directly.
 */
import { request } from "node:http";
import type { IncomingMessage, RequestListener, Server as HTTPServer, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** Where clients connect, at an edge whose path is the default. */
const path = "/socket.io/";

export class Proxy {
  readonly #edge: URL;

  /** edge is where the edge listens, such as http://127.0.0.1:3000. */
  constructor(edge: string) {
    this.#edge = new URL(edge);
    if (this.#edge.protocol !== "http:") {
      throw new Error(
        `partyline: option edge: ${edge} must begin with http://; it is for development, on one machine`,
      );
    }
  }

  /** attach takes over the requests of clients. The server's own listeners get all others. */
  attach(http: HTTPServer): void {
    const others = http.listeners("request") as RequestListener[];
    http.removeAllListeners("request");
    http.on("request", (req, res) => {
      if (isClients(req)) {
        this.#pass(req, res);
      } else if (others.length > 0) {
        others.forEach((listener) => listener.call(http, req, res));
      } else {
        res.writeHead(404).end();
      }
    });
    http.on("upgrade", (req, socket, head) => {
      if (isClients(req)) {
        this.#upgrade(req, socket, head);
      }
    });
  }

  #ask(req: IncomingMessage) {
    const headers = { ...req.headers, "x-forwarded-for": forwardedFor(req) };
    return request(this.#edge, { method: req.method, path: req.url, headers, agent: false });
  }

  #pass(req: IncomingMessage, res: ServerResponse): void {
    const asked = this.#ask(req);
    asked.on("response", (answer) => {
      res.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(res);
    });
    asked.on("error", (error) =>
      res.headersSent ? res.destroy() : res.writeHead(502).end(`the edge cannot be reached: ${error.message}\n`),
    );
    res.on("close", () => asked.destroy());
    req.pipe(asked);
  }

  #upgrade(req: IncomingMessage, client: Duplex, head: Buffer): void {
    const asked = this.#ask(req);
    client.on("error", () => asked.destroy());
    client.on("close", () => asked.destroy());
    asked.on("error", () => client.destroy());
    asked.on("response", (answer) => {
      // the edge refuses
      client.write(headOf(answer));
      answer.pipe(client);
    });
    asked.on("upgrade", (answer, edge, first) => {
      client.write(headOf(answer));
      client.write(first);
      edge.write(head);
      edge.on("error", () => client.destroy());
      edge.on("close", () => client.destroy());
      client.on("close", () => edge.destroy());
      client.pipe(edge).pipe(client);
    });
    asked.end();
  }
}

function isClients(req: IncomingMessage): boolean {
  return req.url!.startsWith(path) || req.url!.startsWith(path.slice(0, -1) + "?");
}

function forwardedFor(req: IncomingMessage): string {
  return [req.headers["x-forwarded-for"], req.socket.remoteAddress].filter(Boolean).join(", ");
}

/** headOf is the head of a response as it came. */
function headOf(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    lines.push(`${answer.rawHeaders[i]}: ${answer.rawHeaders[i + 1]}`);
  }
  return lines.join("\r\n") + "\r\n\r\n";
}
