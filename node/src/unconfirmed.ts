/**
 * Rooms into which this process has put sockets while no edge has confirmed it. An edge subscribes a room when its
 * first socket enters it; until then an event on the room's own subject does not reach the newcomer. So events to
 * such a room go to all, with Sio-Rooms, which every edge with a socket in the namespace receives.
 */

/** How long a room stays unconfirmed without an answer, in milliseconds. */
const unconfirmedFor = 5000;

/**
 * How long a room counts as subscribed by an edge that has confirmed it, from the request on. An edge keeps the
 * subscription for 2 seconds after its last member has gone.
 */
const confirmedFor = 1000;

/** How many confirmed rooms are remembered. */
const maxConfirmed = 100_000;

/** What is waited for after one request. */
export interface Confirmation {
  /** The rooms that the request keeps unconfirmed. */
  kept: string[];
  /** All rooms of the request. */
  all: string[];
  edge: string;
  at: number;
  timer?: NodeJS.Timeout;
}

export class Unconfirmed {
  static readonly #shared = new Map<string, Unconfirmed>();

  /** of returns what all Servers of this process with a prefix share: one may emit to a room that another has joined. */
  static of(prefix: string): Unconfirmed {
    const shared = Unconfirmed.#shared.get(prefix) ?? new Unconfirmed();
    Unconfirmed.#shared.set(prefix, shared);
    return shared;
  }

  /** By namespace and room: how many requests are not answered. */
  readonly #rooms = new Map<string, number>();
  /** By room and edge: when the request was made that the edge has confirmed. */
  readonly #confirmed = new Map<string, number>();

  /** has reports whether events to a room, as in subjects, must be sent to all. */
  has(namespace: string, room: string): boolean {
    return this.#rooms.size > 0 && this.#rooms.has(key(namespace, room));
  }

  /**
   * begin notes that sockets are about to be put into rooms, as in subjects. It must be called before the request is
   * published. edge is where the socket is, "" for a request to all edges.
   */
  begin(namespace: string, rooms: string[], edge: string): Confirmation {
    const at = Date.now();
    const all = rooms.map((room) => key(namespace, room));
    const kept = all.filter(
      (room) => edge === "" || at - (this.#confirmed.get(room + " " + edge) ?? 0) >= confirmedFor,
    );
    for (const room of kept) {
      this.#rooms.set(room, (this.#rooms.get(room) ?? 0) + 1);
    }
    const c: Confirmation = { kept, all, edge, at };
    if (kept.length > 0) {
      c.timer = setTimeout(() => this.#release(c), unconfirmedFor);
      c.timer.unref();
    }
    return c;
  }

  /** finish ends a confirmation: edges have confirmed its rooms, or, if there are none, its request has failed. */
  finish(c: Confirmation, edges: string[]): void {
    for (const edge of edges) {
      for (const room of c.all) {
        this.#confirmed.delete(room + " " + edge); // so that the map is in the order of time
        this.#confirmed.set(room + " " + edge, c.at);
      }
    }
    this.#tidy();
    this.#release(c);
  }

  #release(c: Confirmation): void {
    clearTimeout(c.timer);
    for (const room of c.kept) {
      const requests = this.#rooms.get(room)! - 1;
      if (requests === 0) {
        this.#rooms.delete(room);
      } else {
        this.#rooms.set(room, requests);
      }
    }
    c.kept = [];
  }

  #tidy(): void {
    const now = Date.now();
    for (const [room, at] of this.#confirmed) {
      if (now - at < confirmedFor && this.#confirmed.size <= maxConfirmed) {
        return;
      }
      this.#confirmed.delete(room);
    }
  }
}

function key(namespace: string, room: string): string {
  return namespace + " " + room;
}
