/** The connection to NATS: publishing that fails at once without it, and an inbox for answers. */
import { connect, createInbox } from "@nats-io/transport-node";
import type { Msg, NatsConnection, NodeConnectionOptions, Subscription } from "@nats-io/transport-node";
import { OfflineError } from "./errors";
import type { Complaints } from "./log";
import { makeHeaders } from "./wire";
import type { HeaderList } from "./wire";

/** The option `nats`: URLs, or options of the NATS client, or a connection. */
export type NATSOption = string | string[] | NodeConnectionOptions | NatsConnection;

export function isConnection(option: NATSOption): option is NatsConnection {
  return typeof (option as NatsConnection).publish === "function";
}

/** connectionOptions are those of the NATS client for the option `nats`. */
export function connectionOptions(option: NATSOption): NodeConnectionOptions {
  const given =
    typeof option === "string" || Array.isArray(option) ? { servers: option } : (option as NodeConnectionOptions);
  return { maxReconnectAttempts: -1, reconnectTimeWait: 250, reconnectJitter: 100, ...given };
}

/** How often the first connection is tried, in milliseconds. */
const tryEvery = 500;

/** What may wait while the first connection is made. Then the oldest is kept, and the rest fails. */
const maxEarly = 10_000;

export class Link {
  readonly #option: NATSOption;
  readonly #log: Complaints;
  readonly #watchers: ((connected: boolean) => void)[] = [];
  readonly #answers = new Map<string, (m: Msg) => void>();
  #early: (() => void)[] | undefined = [];
  readonly #inbox: string;
  #last = 0;
  #connected = false;
  #reconnects = 0;
  #closed = false;
  readonly #subscriptions = new Set<Subscription>();
  nc!: NatsConnection;
  #watched: NatsConnection | undefined;

  constructor(option: NATSOption, log: Complaints) {
    this.#option = option;
    this.#log = log;
    const { inboxPrefix } = isConnection(option) ? ((option as any).options ?? {}) : connectionOptions(option);
    this.#inbox = createInbox(inboxPrefix) + ".";
  }

  /** open connects, and tries until it can. What was published before goes out once subscribe has been called. */
  async open(subscribe: () => void): Promise<void> {
    this.nc = isConnection(this.#option) ? this.#option : await this.#connect(connectionOptions(this.#option));
    this.#connected = true;
    this.subscribe(this.#inbox + "*", (m) => this.#answers.get(m.subject.slice(this.#inbox.length))?.(m));
    subscribe();
    if (this.#watched !== this.nc) {
      this.#watched = this.nc;
      void this.#watch(this.nc);
    }
    const early = this.#early!;
    this.#early = undefined;
    early.forEach((publish) => publish());
  }

  async #connect(options: NodeConnectionOptions): Promise<NatsConnection> {
    for (;;) {
      try {
        const nc = await connect(options);
        if (!this.#closed) {
          return nc;
        }
        await nc.close();
      } catch (error) {
        this.#log.warn("NATS cannot be reached; trying again", (error as Error).message);
        await new Promise((resolve) => setTimeout(resolve, tryEvery));
      }
      if (this.#closed) {
        throw new OfflineError("the server was closed before NATS was reached");
      }
    }
  }

  /** isOpen reports whether the first connection has been made. */
  get isOpen(): boolean {
    return this.nc !== undefined;
  }

  /** canPublish reports whether publish would not throw OfflineError. */
  get canPublish(): boolean {
    return this.#early !== undefined ? this.#early.length < maxEarly : this.#connected && !this.nc.isClosed();
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

  async #watch(nc: NatsConnection): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === "disconnect" || status.type === "reconnect") {
        this.#connected = status.type === "reconnect";
        this.#reconnects += this.#connected ? 1 : 0;
        this.#watchers.forEach((watcher) => watcher(this.#connected));
      }
    }
    if (this.nc !== nc) {
      return; // it was closed, and opened again
    }
    this.#connected = false;
    if (!this.#closed) {
      this.#log.warn("the connection to NATS has been closed for good; start the process again");
    }
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
    if (!this.canPublish) {
      throw new OfflineError();
    }
    const hdrs = makeHeaders(headers);
    const bytes = typeof body === "string" ? Buffer.from(body) : body; // in a fraction of the time of the client's own encoder
    this.nc.publish(subject, bytes, hdrs || reply ? { headers: hdrs, reply } : undefined);
  }

  subscribe(subject: string, take: (m: Msg) => void): Subscription {
    const subscription = this.nc.subscribe(subject, {
      callback: (refused, m) => {
        if (refused) {
          this.#log.warn("NATS refuses a subscription (docs/subjects.md, Permissions)", refused.message);
          return;
        }
        try {
          take(m);
        } catch (error) {
          this.#log.warn("a message could not be processed", `${m.subject}: ${(error as Error).stack}`);
        }
      },
    });
    this.#subscriptions.add(subscription);
    void subscription.closed.then(() => this.#subscriptions.delete(subscription));
    return subscription;
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
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, atMost, false);
    });
    const flushed = this.nc.flush().then(
      () => true,
      () => false,
    );
    return Promise.race([flushed, late]).finally(() => clearTimeout(timer));
  }

  /** reopen lets open be called again after close. */
  reopen(): void {
    this.#closed = false;
    this.#early ??= [];
    this.#subscriptions.clear();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#connected = false;
    this.#subscriptions.forEach((subscription) => subscription.unsubscribe());
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
