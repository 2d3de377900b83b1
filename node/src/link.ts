/** The connection to NATS: publishing that fails at once without it, and an inbox for answers. */
import { connect, createInbox } from "@nats-io/transport-node";
import type { Msg, NatsConnection, NodeConnectionOptions, Subscription } from "@nats-io/transport-node";
import { OfflineError } from "./errors";
import { makeHeaders } from "./wire";
import type { HeaderList } from "./wire";

/** The option `nats`: URLs, or options of the NATS client, or a connection. */
export type NATSOption = string | string[] | NodeConnectionOptions | NatsConnection;

export function isConnection(option: NATSOption): option is NatsConnection {
  return typeof (option as NatsConnection).publish === "function";
}

/** connectionOptions are those of the NATS client for the option `nats`. */
export function connectionOptions(option: NATSOption): NodeConnectionOptions {
  const given = typeof option === "string" || Array.isArray(option) ? { servers: option } : (option as NodeConnectionOptions);
  return { maxReconnectAttempts: -1, reconnectTimeWait: 250, reconnectJitter: 100, waitOnFirstConnect: true, ...given };
}

/** What may wait while the first connection is made. Then the oldest is kept, and the rest fails. */
const maxEarly = 10_000;

export class Link {
  readonly #option: NATSOption;
  readonly #watchers: ((connected: boolean) => void)[] = [];
  readonly #answers = new Map<string, (m: Msg) => void>();
  #early: (() => void)[] | undefined = [];
  readonly #inbox: string;
  #last = 0;
  #connected = false;
  #reconnects = 0;
  nc!: NatsConnection;

  constructor(option: NATSOption) {
    this.#option = option;
    const { inboxPrefix } = isConnection(option) ? ((option as any).options ?? {}) : connectionOptions(option);
    this.#inbox = createInbox(inboxPrefix) + ".";
  }

  /** open connects. What was published before goes out first, once subscribe has been called. */
  async open(subscribe: () => void): Promise<void> {
    this.nc = isConnection(this.#option) ? this.#option : await connect(connectionOptions(this.#option));
    this.#connected = true;
    this.subscribe(this.#inbox + "*", (m) => this.#answers.get(m.subject.slice(this.#inbox.length))?.(m));
    subscribe();
    void this.#watch();
    const early = this.#early!;
    this.#early = undefined;
    early.forEach((publish) => publish());
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** reconnects counts how often the connection was made again. */
  get reconnects(): number {
    return this.#reconnects;
  }

  /** onChange calls watcher whenever the connection is lost or made again. */
  onChange(watcher: (connected: boolean) => void): void {
    this.#watchers.push(watcher);
  }

  async #watch(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === "disconnect" || status.type === "reconnect") {
        this.#connected = status.type === "reconnect";
        this.#reconnects += this.#connected ? 1 : 0;
        this.#watchers.forEach((watcher) => watcher(this.#connected));
      }
    }
    this.#connected = false;
  }

  /** publish sends a message, or throws OfflineError at once. Nothing is kept to be sent later. */
  publish(subject: string, body: string | Uint8Array, headers?: HeaderList, reply?: string): void {
    if (this.#early) {
      if (this.#early.length >= maxEarly) {
        throw new OfflineError("NATS has not been reached yet, and too much waits for it");
      }
      this.#early.push(() => this.nc.publish(subject, body, { headers: makeHeaders(headers), reply }));
      return;
    }
    if (!this.#connected || this.nc.isClosed()) {
      throw new OfflineError();
    }
    const hdrs = makeHeaders(headers);
    this.nc.publish(subject, body, hdrs || reply ? { headers: hdrs, reply } : undefined);
  }

  subscribe(subject: string, take: (m: Msg) => void): Subscription {
    return this.nc.subscribe(subject, { callback: (error, m) => { if (!error) take(m); } });
  }

  /** expect returns a reply subject, and passes what comes there to take until it is forgotten. */
  expect(take: (m: Msg) => void): Expectation {
    const id = (++this.#last).toString(36);
    this.#answers.set(id, take);
    return { reply: this.#inbox + id, forget: () => this.#answers.delete(id) };
  }

  /** flushed waits until NATS has received what was published, at most for so many milliseconds. */
  async flushed(atMost: number): Promise<boolean> {
    if (!this.#connected || this.nc.isClosed()) {
      return false;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => { timer = setTimeout(resolve, atMost, false); });
    const flushed = this.nc.flush().then(() => true, () => false);
    return Promise.race([flushed, late]).finally(() => clearTimeout(timer));
  }

  async close(): Promise<void> {
    this.#connected = false;
    if (this.nc && !isConnection(this.#option)) {
      await this.nc.close();
    }
  }
}

/** Where an answer is expected. */
export interface Expectation {
  reply: string;
  forget(): void;
}
