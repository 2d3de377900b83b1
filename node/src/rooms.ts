/**
 * Joins, leaves and grants of single sockets. Joins and leaves count here at once, and at the edge once it has answered.
 */
import type { Msg } from "@nats-io/transport-node";
import type { EdgeAdapter } from "./adapter";
import type { WireGrant } from "./grant";
import type { Hub } from "./hub";
import type { Expectation } from "./link";
import { isSocketId, roomFromWire, roomOnWire, roomTail } from "./names";
import { answerError } from "./questions";
import type { Seat, State } from "./seat";
import type { Verb } from "./subjects";
import type { Confirmation } from "./unconfirmed";
import { decode } from "./wire";

export class Rooms {
  readonly #hub: Hub;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** join asks the edge to put a socket into rooms. The promise is resolved once that is active at the NATS server. */
  join(seat: Seat, rooms: string[]): Promise<void> {
    const wire = rooms.map(roomOnWire);
    return this.#move(seat, "join", wire, wire).catch((error) => {
      this.#adapter(seat)?.mirror(seat.id, [], rooms);
      throw error;
    });
  }

  /** leave asks the edge to take a socket out of rooms, as they are named on the wire. */
  leave(seat: Seat, rooms: string[]): Promise<void> {
    rooms.forEach((room) => seat.leaving.add(room));
    return this.#move(seat, "leave", rooms).finally(() => rooms.forEach((room) => seat.leaving.delete(room)));
  }

  /**
   * grant changes what a socket is and may do, or its admission while there is none. rooms are those of the grant, as
   * the program names them.
   */
  async grant(seat: Seat, given: WireGrant, rooms: string[]): Promise<void> {
    if (seat.isFormer && seat.state === "asked") {
      return;
    }
    if (seat.isFormer) {
      this.#hub.outbox.settle(); // an admission of such a socket has no grant
    }
    switch (seat.state) {
      case "asked":
      case "open":
        void this.#adapter(seat)?.addAll(seat.id, new Set(rooms));
        Object.assign(seat.granted, given, { rooms: undefined });
        return seat.state === "open" ? seat.admitted.wait() : undefined;
      case "told":
        return this.change(seat, given);
    }
  }

  /** change asks the edge for what a grant changes. */
  change(seat: Seat, given: WireGrant): Promise<void> {
    return this.#move(seat, "grant", [given], given.rooms ?? []);
  }

  /** move sends a command. rooms are those into which it puts the socket. */
  #move(seat: Seat, verb: Verb, body: unknown[], rooms: string[] = []): Promise<void> {
    const confirmation =
      rooms.length > 0 ? this.#hub.unconfirmed.begin(seat.token, rooms.map(roomTail), seat.edge) : undefined;
    return new Promise<void>((resolve, reject) => {
      const asked = this.confirm(seat, confirmation, { resolve, reject });
      try {
        this.#hub.outbox.publish(
          this.#hub.subjects.toSocket(seat.token, verb, seat.id),
          JSON.stringify(body),
          undefined,
          asked.reply,
        );
      } catch (error) {
        asked.forget();
        if (confirmation) {
          this.#hub.unconfirmed.finish(confirmation, []);
        }
        reject(error);
      }
    });
  }

  /** confirm expects the answer to a command or an admission. */
  confirm(
    seat: Seat,
    confirmation: Confirmation | undefined,
    done: { resolve(): void; reject?(error: Error): void; refused?(error: Error): void },
  ): Expectation {
    return this.#hub.command(seat, (m: Msg | undefined) => {
      const error = m && answerError(m);
      const isActive = m && !error && decode(m)[0]?.sockets > 0;
      if (confirmation) {
        this.#hub.unconfirmed.finish(confirmation, isActive ? [seat.edge] : []);
      }
      if (error && done.refused) {
        done.refused(error);
      }
      if (!error || error.message.endsWith("unknown socket") || !done.reject) {
        done.resolve(); // the socket has gone: so has what was asked for it
      } else {
        this.#hub.log.warn("an edge has not changed the rooms or the grant of a socket", error.message);
        done.reject(error);
      }
    });
  }

  /** noticed records an edge's notice about the rooms and data of a socket. */
  noticed(seat: Seat, state: State): void {
    if (state.transport) {
      seat.conn.runsOver(state.transport);
    }
    if (seat.state !== "told" || state.rev < (seat.latest?.rev ?? seat.rev)) {
      return;
    }
    seat.latest = state;
    if (seat.unanswered === 0) {
      this.apply(seat);
    }
  }

  /** apply makes the mirror what the latest notice says, once no command of this instance is under way. */
  apply(seat: Seat): void {
    const state = seat.latest;
    seat.latest = undefined;
    if (!state || state.rev < seat.rev || seat.state !== "told") {
      return;
    }
    seat.rev = state.rev;
    const wanted = new Set(state.rooms.map(roomFromWire));
    const adapter = this.#adapter(seat);
    const current = adapter?.socketRooms(seat.id);
    if (adapter && current) {
      const left = [...current].filter((room) => !wanted.has(room) && room !== seat.id && !isSocketId(room));
      adapter.mirror(
        seat.id,
        [...wanted].filter((room) => !current.has(room)),
        left,
      );
    }
    this.#hub.data.noticed(seat, state.data);
  }

  /**
   * last adds the rooms in which a socket was when it ended, except those that it is leaving. Notices do not count any
   * more: one that is published while a socket ends may have none of its rooms.
   */
  last(seat: Seat, rooms: unknown): void {
    seat.rev = Infinity;
    if (Array.isArray(rooms)) {
      const had = rooms.filter((room) => !seat.leaving.has(room)).map(roomFromWire);
      this.#adapter(seat)?.mirror(seat.id, had, []);
    }
  }

  /** adapter is the adapter of a socket, unless the program has set one of its own. */
  #adapter(seat: Seat): EdgeAdapter | undefined {
    const adapter = seat.socket?.nsp.adapter as unknown as EdgeAdapter | undefined;
    return adapter && "mirror" in adapter ? adapter : undefined;
  }
}
