/**
 * Pauses: when this process does not keep up, edges hold the events of the clients that send the most. What waits
 * unread cannot be seen here, but how late this instance's own beats are read shows how much it is.
 */
import type { Hub } from "./hub";
import type { Seat } from "./seat";

/** Above the first, sockets are paused; below the second, they are resumed. In milliseconds. */
const tooLate = 1000;
const inTime = 250;

export class Pauses {
  readonly #hub: Hub;
  /** Events of each socket since the last beat. */
  #counts = new Map<Seat, number>();
  readonly #paused = new Map<Seat, string>();
  #looked = 0;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** count records an event of a socket. */
  count(seat: Seat): void {
    this.#counts.set(seat, (this.#counts.get(seat) ?? 0) + 1);
  }

  /** beat is called for each beat of this instance that comes back. at is when it was published. */
  beat(at: number): void {
    const now = Date.now();
    const late = now - at;
    const counts = this.#counts;
    this.#counts = new Map();
    for (const seat of this.#paused.keys()) {
      if (seat.state !== "told") {
        this.#paused.delete(seat);
      }
    }
    if (late < inTime) {
      this.#paused.forEach((name, seat) => this.#say(seat, "resume", name));
      this.#paused.clear();
    } else if (late > tooLate && now - this.#looked >= tooLate / 2) {
      this.#looked = now;
      this.#pauseBusiest(counts, late);
    }
    // A pause ends after five seconds: each beat renews it.
    this.#paused.forEach((name, seat) => this.#say(seat, "pause", name));
  }

  /** pauseBusiest pauses those that have sent half of the events. */
  #pauseBusiest(counts: Map<Seat, number>, late: number): void {
    const busiest = [...counts]
      .filter(([seat]) => seat.state === "told" && !this.#paused.has(seat))
      .sort((a, b) => b[1] - a[1]);
    let left = busiest.reduce((sum, [, count]) => sum + count, 0) / 2;
    for (const [seat, count] of busiest) {
      if (left <= 0) {
        break;
      }
      left -= count;
      this.#paused.set(seat, seat.instance);
    }
    if (busiest.length > 0) {
      this.#hub.log.warn(
        "this process does not keep up with its clients' events; those that send the most are slowed down",
        `${late} ms behind`,
      );
    }
  }

  #say(seat: Seat, verb: "pause" | "resume", name: string): void {
    if (seat.state === "told") {
      this.#hub.send(this.#hub.subjects.toSocket(seat.token, verb, seat.id), JSON.stringify([name]));
    }
  }
}
