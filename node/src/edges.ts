/** The edges that live, and what is remembered of those that went. */
import type { Msg } from "@nats-io/transport-node";
import { Verifier } from "./announcements";
import { beatEvery, Members } from "./members";

/** How long the death of an edge is remembered, in milliseconds. An edge that is started again has another id. */
const mournedFor = 600_000;

/** What an announcement of an edge means here. */
export type EdgeNews = "ignored" | "died" | "back" | "lives";

export class Edges extends Members {
  readonly #verifier: Verifier;
  /** Edges whose sockets were ended because they seemed to be dead, and when. */
  readonly #mourned = new Map<string, number>();
  /** Edges that said goodbye, and when. */
  readonly #parted = new Map<string, number>();

  constructor(secret: string) {
    super();
    this.#verifier = new Verifier(secret);
  }

  /** announced records an announcement. "back" is the first of an edge whose sockets were ended here. */
  announced(edge: string, word: string, m: Msg): EdgeNews {
    if (!this.#verifier.counts(edge, word, m)) {
      return "ignored";
    }
    switch (word) {
      case "hello":
      case "beat":
        this.hear(edge);
        return this.#mourned.delete(edge) ? "back" : "lives";
      case "bye":
        if (this.leaves(edge)) {
          this.#parted.set(edge, Date.now());
        }
        return "lives"; // its sockets end a beat later
      case "gone":
        // Another edge may be cut off from one that this instance receives: that must not end its sockets here.
        return this.leaves(edge, 2 * beatEvery) ? "died" : "lives";
    }
    return "lives";
  }

  /**
   * requested records that an edge has asked for something. With a secret, that counts only of an edge that is
   * known.
   */
  requested(edge: string): void {
    if (!this.#verifier.hasSecret || this.has(edge)) {
      this.hear(edge);
    }
  }

  /** mourn records that the sockets of an edge were ended because it seemed to be dead. */
  mourn(edge: string): void {
    const now = Date.now();
    this.#mourned.forEach((at, old) => now - at > mournedFor && this.#mourned.delete(old));
    this.#mourned.set(edge, now);
  }

  /**
   * dead returns the edges that have been silent for too long, and those that said goodbye a beat ago: by now, their
   * notices about sockets have come.
   */
  dead(now: number): string[] {
    const dead = this.expire(now);
    for (const [edge, at] of this.#parted) {
      if (now - at > beatEvery) {
        this.#parted.delete(edge);
        dead.push(edge);
      }
    }
    return dead;
  }
}
