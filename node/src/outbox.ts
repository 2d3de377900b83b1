/**
 * The outbox keeps the order of what is published. Its last entry may stay open until the tick ends: an admission,
 * whose rooms and data are those at that time, or a disconnect, which may become that of the whole session. Whatever
 * is published next closes the open entry first.
 */
import type { Link } from "./link";
import type { HeaderList } from "./wire";

export class Outbox {
  readonly #link: Link;
  #open: (() => void) | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  /** hold keeps an entry open. publish is called once, at the latest when the tick ends. */
  hold(publish: () => void): void {
    this.settle();
    this.#open = publish;
    queueMicrotask(() => {
      if (this.#open === publish) {
        this.settle();
      }
    });
  }

  /** settle publishes the open entry. */
  settle(): void {
    const publish = this.#open;
    this.#open = undefined;
    publish?.();
  }

  /** publish sends a message behind the open entry, or throws OfflineError at once. */
  publish(subject: string, body: string | Uint8Array, headers?: HeaderList, reply?: string): void {
    if (this.#open) {
      this.settle();
    }
    this.#link.publish(subject, body, headers, reply);
  }
}
