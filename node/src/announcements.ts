/** The announcements of edges, checked: with a secret, only those count that an edge has signed, each once. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Msg } from "@nats-io/transport-node";
import { header, Header } from "./wire";

/** How far the clocks of an edge and this process may differ, in milliseconds. */
const maxSkew = 30_000;

/** How long what an edge has said last is remembered, in milliseconds. */
const remembered = 2 * maxSkew;

export class Verifier {
  readonly #secret: string;
  readonly #last = new Map<string, number>();

  constructor(secret: string) {
    this.#secret = secret;
  }

  get hasSecret(): boolean {
    return this.#secret !== "";
  }

  /**
   * counts reports whether an announcement counts: with a secret it must be signed, of now, and later than the last.
   */
  counts(edge: string, word: string, m: Msg): boolean {
    const body = Buffer.from(m.data);
    if (this.hasSecret && !this.#isSigned(edge, word, body, header(m, Header.signature))) {
      return false;
    }
    let about: { edge: string; at: number; by?: string };
    try {
      about = JSON.parse(body.toString())[0];
    } catch {
      return false;
    }
    if (about?.edge !== edge) {
      return false;
    }
    return !this.hasSecret || this.#isNew(about);
  }

  #isSigned(edge: string, word: string, body: Buffer, signature: string): boolean {
    const expected = createHmac("sha256", this.#secret).update(`${edge}.${word}\n`).update(body).digest();
    const given = Buffer.from(signature, "hex");
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  #isNew(about: { edge: string; at: number; by?: string }): boolean {
    const now = Date.now();
    const key = about.by ? `gone ${about.edge}` : about.edge;
    if (Math.abs(now - about.at) > maxSkew || about.at <= (this.#last.get(key) ?? 0)) {
      return false;
    }
    this.#last.delete(key);
    this.#last.set(key, about.at);
    for (const [old, at] of this.#last) {
      if (now - at < remembered) {
        break;
      }
      this.#last.delete(old);
    }
    return true;
  }
}
