/**
 * Beats say that this instance lives. A worker thread sends them over a NATS connection of its own, so that a
 * blocked event loop does not look like a dead instance. Without a worker the main thread sends them.
 */
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { isConnection, connectionOptions } from "./link";
import type { NATSOption } from "./link";
import type { Complaints } from "./log";

/** What both threads share: numbers of 64 bits. */
export const Shared = {
  /** How often the main thread has run. */
  count: 0,
  /** 1 while the main thread has a connection to NATS. */
  connected: 1,
  /** When the last beat was published that NATS has received, in milliseconds since 1970. */
  confirmed: 2,
  length: 3,
} as const;

/** What the worker publishes: an announcement, but for its time. */
export interface Beat {
  subject: string;
  body: Record<string, unknown>;
}

export class Beats {
  readonly shared = new BigInt64Array(new SharedArrayBuffer(Shared.length * 8));
  readonly #log: Complaints;
  #worker: Worker | undefined;

  constructor(log: Complaints) {
    this.#log = log;
  }

  /** start starts the worker, unless the options of NATS cannot be passed to it, and waits until it can beat. */
  async start(option: NATSOption): Promise<void> {
    if (isConnection(option)) {
      this.#log.warn(
        "beats come from the main thread, because a connection was given: a blocked event loop loses its sockets",
      );
      return;
    }
    try {
      const worker = new Worker(join(__dirname, "beat-worker.js"), {
        workerData: { options: connectionOptions(option), shared: this.shared.buffer },
      });
      worker.unref();
      this.#worker = worker;
      worker.on("error", (error) => this.#lost(error));
      await new Promise((resolve) => worker.once("message", resolve).once("exit", resolve));
    } catch (error) {
      this.#lost(error as Error);
    }
  }

  #lost(error: Error): void {
    this.#worker = undefined;
    this.#log.warn("beats come from the main thread: a blocked event loop loses its sockets", error.message);
  }

  /** set changes what is published each second; undefined for nothing. */
  set(beat: Beat | undefined): void {
    this.#worker?.postMessage(beat);
  }

  /** ran records that the main thread runs, and whether it has a connection. */
  ran(isConnected: boolean): void {
    Atomics.add(this.shared, Shared.count, 1n);
    Atomics.store(this.shared, Shared.connected, isConnected ? 1n : 0n);
  }

  confirm(at: number): void {
    if (at > this.confirmed) {
      Atomics.store(this.shared, Shared.confirmed, BigInt(at));
    }
  }

  /** reset forgets earlier beats, before an instance starts again. */
  reset(): void {
    Atomics.store(this.shared, Shared.confirmed, 0n);
  }

  get confirmed(): number {
    return Number(Atomics.load(this.shared, Shared.confirmed));
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
  }
}
