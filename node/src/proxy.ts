/**
 * The proxy for development: an HTTP server passes the requests of clients on to an edge, so that a page that it
 * serves can connect with a plain `io()`. In production clients, or the proxy in front, reach edges directly.
 */
import { request } from "node:http";
import type {
  ClientRequest,
  IncomingHttpHeaders,
  IncomingMessage,
  RequestListener,
  Server as HTTPServer,
  ServerResponse,
} from "node:http";
import type { Duplex } from "node:stream";
import type { Complaints } from "./log";

/** Headers that are about one connection, so a proxy does not pass them on. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

export class Proxy {
  readonly #edge: URL;
  readonly #path: string;
  readonly #log: Complaints;
  /** What ends each request and upgraded connection that is under way. */
  readonly #open = new Set<{ destroy(): unknown }>();

  /** edge is where the edge listens: http://127.0.0.1:3000, with a path if that of clients is not /socket.io/. */
  constructor(edge: string, log: Complaints) {
    if (!URL.canParse(edge) || new URL(edge).protocol !== "http:") {
      throw new Error(
        `partyline: option edge: ${JSON.stringify(edge)} must be a URL with http://; it is for development`,
      );
    }
    this.#edge = new URL(edge);
    this.#path = this.#edge.pathname === "/" ? "/socket.io/" : this.#edge.pathname.replace(/\/?$/, "/");
    this.#log = log;
  }

  /** attach takes over the requests of clients. Listeners that the server already has get all others. */
  attach(http: HTTPServer): void {
    const others = http.listeners("request") as RequestListener[];
    http.removeAllListeners("request");
    http.on("request", (req, res) => {
      if (this.#isClients(req)) {
        this.#pass(req, res);
      } else if (others.length > 0) {
        others.forEach((listener) => listener.call(http, req, res));
      } else {
        res.writeHead(404).end();
      }
    });
    http.on("upgrade", (req, client, head) => {
      if (this.#isClients(req)) {
        this.#upgrade(req, client, head);
      } else if (http.listenerCount("upgrade") === 1) {
        // no other listener would ever end it
        client.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
      }
    });
  }

  /** close ends all connections of clients that go through this proxy. */
  close(): void {
    this.#open.forEach((it) => it.destroy());
  }

  #isClients(req: IncomingMessage): boolean {
    const [path] = req.url!.split("?", 1);
    return path.startsWith(this.#path) || path + "/" === this.#path;
  }

  /** ask begins a request to the edge, and ends it once the client has gone. */
  #ask(req: IncomingMessage, more: IncomingHttpHeaders, client: Duplex | ServerResponse): ClientRequest {
    const { hostname, port } = this.#edge;
    const host = req.headers.host ?? (req.headers[":authority"] as string | undefined);
    const headers = {
      ...passedOn(req.headers),
      ...more,
      host,
      "x-forwarded-for": [req.headers["x-forwarded-for"], req.socket.remoteAddress].filter(Boolean).join(", "),
      "x-forwarded-proto": req.headers["x-forwarded-proto"] ?? ((req.socket as any).encrypted ? "https" : "http"),
      "x-forwarded-host": req.headers["x-forwarded-host"] ?? host,
    };
    const asked = request({
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port,
      method: req.method,
      path: req.url,
      headers,
      agent: false,
    });
    this.#open.add(client);
    client.on("close", () => {
      this.#open.delete(client);
      asked.destroy();
    });
    return asked;
  }

  #pass(req: IncomingMessage, res: ServerResponse): void {
    const asked = this.#ask(req, {}, res);
    asked.on("response", (answer) => {
      res.writeHead(answer.statusCode!, passedOn(answer.headers));
      answer.on("error", () => res.destroy());
      answer.pipe(res);
    });
    asked.on("error", (error) => {
      if (res.headersSent || res.destroyed) {
        res.destroy();
        return;
      }
      res.writeHead(502, { "Content-Type": "text/plain", Connection: "close" }).end(this.#complain(error));
    });
    req.pipe(asked);
  }

  #upgrade(req: IncomingMessage, client: Duplex, head: Buffer): void {
    const asked = this.#ask(req, { connection: "Upgrade", upgrade: req.headers.upgrade }, client);
    (client as any).setTimeout?.(0);
    (client as any).setNoDelay?.(true);
    client.on("error", () => client.destroy());
    asked.on("error", (error) => {
      if (!client.destroyed) {
        client.end(
          `HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${this.#complain(error)}`,
        );
      }
    });
    asked.on("response", (answer) => {
      // The edge refuses.
      client.write(headOf(answer, (name) => !hopByHop.has(name), "Connection: close\r\n"));
      answer.on("error", () => client.destroy());
      answer.pipe(client);
    });
    asked.on("upgrade", (answer, edge, first) => {
      client.write(headOf(answer, () => true));
      client.write(first);
      edge.setNoDelay(true);
      edge.write(head);
      edge.on("error", () => client.destroy());
      edge.on("close", () => client.destroy());
      client.on("close", () => edge.destroy());
      client.pipe(edge).pipe(client);
    });
    asked.end();
  }

  /** complain logs why the edge did not answer, and returns what the client reads. */
  #complain(error: Error): string {
    this.#log.warn(
      "the edge cannot be reached; clients get 502",
      `${this.#edge.origin}: ${error.message || (error as any).code}`,
    );
    return `The edge at ${this.#edge.origin} cannot be reached. Is it running? (option edge, or PARTYLINE_EDGE)\n`;
  }
}

/** passedOn returns the headers without those of one connection, and without those that HTTP/2 makes. */
function passedOn(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name) && !name.startsWith(":")));
}

/** headOf is the head of a response as it came, with the headers that are kept. */
function headOf(answer: IncomingMessage, keeps: (name: string) => boolean, more = ""): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    if (keeps(answer.rawHeaders[i].toLowerCase())) {
      lines.push(`${answer.rawHeaders[i]}: ${answer.rawHeaders[i + 1]}`);
    }
  }
  return `${lines.join("\r\n")}\r\n${more}\r\n`;
}
