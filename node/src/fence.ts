/**
 * The fence keeps an instance from handling events of sockets that others may own by now. Edges give an instance up
 * three and a half seconds after its last beat.
 */

/** How old the last beat that NATS has confirmed may be, and how long the connection may be away, in milliseconds. */
const fenceAfter = 3000;
const fenceDisconnected = 750;

export class Fence {
  #disconnected: number | undefined;
  readonly #confirmed: () => number;

  /** confirmed returns when the last beat was published that NATS has received; 0 before the first. */
  constructor(confirmed: () => number) {
    this.#confirmed = confirmed;
  }

  /** look records since when there is no connection. before is the last time at which there was one. */
  look(isConnected: boolean, before: number): void {
    if (isConnected) {
      this.#disconnected = undefined;
    } else {
      this.#disconnected ??= before;
    }
  }

  /** isCutOff reports whether the edges may have given this instance up. */
  isCutOff(now = Date.now()): boolean {
    const confirmed = this.#confirmed();
    return (
      (confirmed > 0 && now - confirmed >= fenceAfter) ||
      (this.#disconnected !== undefined && now - this.#disconnected >= fenceDisconnected)
    );
  }
}
