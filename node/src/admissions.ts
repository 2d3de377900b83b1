/** Requests of edges that this instance own a socket, and their answers (docs/subjects.md, Groups and owners). */
import type { Msg } from "@nats-io/transport-node";
import type { Hub } from "./hub";
import { isSocketId, matches, roomOnWire, roomTail } from "./names";
import { holder, Seat } from "./seat";
import type { Handshake } from "./seat";
import { header, Header, headerText, notice, PacketType } from "./wire";
import type { HeaderList } from "./wire";

/** How long a decision may take before the edge gets Sio-Pending, in milliseconds. An edge waits for 2 seconds. */
const pendingAfter = 1000;

/**
 * How long an edge repeats a request that does not say it, and how much longer an answer is remembered, in
 * milliseconds.
 */
const askedFor = 20_000;
const rememberedLonger = 5000;

/** How many refusals are remembered. */
const maxRefusals = 100_000;

interface Refusal {
  body: string;
  message: string;
  until: number;
}

export class Admissions {
  readonly #hub: Hub;
  readonly #refusals = new Map<string, Refusal>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** request processes a request. id is the socket's. */
  request(m: Msg, token: string, id: string): void {
    const number = Number(header(m, Header.assignment));
    const namespace = this.#hub.nameOf(token);
    if (namespace === undefined || !this.#hub.options.namespaces.some((pattern) => matches(pattern, namespace))) {
      this.#answer(m.reply!, number, [[Header.error, "not mine"]]);
      return;
    }
    const h = handshakeOf(m, id);
    if (!h) {
      this.#hub.log.warn("a connect request was ignored: it cannot be read", m.subject);
      return;
    }
    this.#hub.instance.edges.requested(holder(h)); // it lives: its sockets must not end here before its hello comes
    if (!this.#hub.instance.mayOwn()) {
      this.#answer(m.reply!, number, [[Header.error, "again"]]);
      return;
    }
    const seat = this.#hub.seats.get(id);
    if (seat && number < seat.number) {
      return; // an older request, which is late
    }
    if (seat && seat.handshake.issued === h.issued) {
      this.#repeat(seat, h, m.reply!, number);
      return;
    }
    if (seat) {
      this.#hub.end(seat, "transport close"); // of a former connection; its end has not been reported
    }
    const refusal = this.#refusals.get(keyOf(h));
    if (refusal) {
      this.#answer(m.reply!, number, [[Header.error, refusal.message]], refusal.body);
      return;
    }
    this.#begin(m, h, namespace, token, number);
  }

  /** repeat answers a further request about a socket. */
  #repeat(seat: Seat, h: Handshake, reply: string, number: number): void {
    seat.number = number;
    seat.reply = reply;
    if (seat.state === "asked") {
      this.#answer(reply, number, [[Header.pending, seat.instance]]);
      return;
    }
    this.#hub.outbox.settle();
    if (h.handover?.from) {
      // the edge was away: it has the rooms and the data
      this.#answer(reply, number, [], "[]");
      this.#hub.rooms.noticed(seat, {
        sid: seat.id,
        rev: h.handover.rev,
        rooms: h.handover.rooms,
        data: h.handover.data,
      });
    } else {
      this.#answer(reply, number, [], seat.admission);
    }
  }

  /** again has the edge ask another instance about a socket that is not decided. */
  again(seat: Seat): void {
    this.#answer(seat.reply, seat.number, [[Header.error, "again"]]);
    this.#hub.remove(seat);
    seat.conn.closeIfUnused();
  }

  #begin(m: Msg, h: Handshake, namespace: string, token: string, number: number): void {
    const conn = this.#hub.conns.of(h, namespace);
    const seat = new Seat(h, namespace, token, conn, this.#hub.instance.name, number, m.reply!);
    const asked = Number(header(m, Header.timeout)) || askedFor;
    seat.remember = asked + rememberedLonger;
    seat.pending = setTimeout(
      () => this.#answer(seat.reply, seat.number, [[Header.pending, seat.instance]]),
      pendingAfter,
    );
    this.#hub.seats.set(seat.id, seat);
    conn.seats.set(namespace, seat);
    if (h.handover?.from && !h.recovered && this.#hub.options.onInstanceLoss === "reconnect") {
      this.#closeInstead(seat);
      return;
    }
    this.#hub.conns.prepare(conn, (error) => {
      if (error) {
        this.refuse(seat, { message: error.message ?? String(error) });
      } else if (seat.state === "asked") {
        conn.receive({ type: PacketType.CONNECT, nsp: namespace, data: h.auth });
      }
    });
  }

  /** closeInstead closes the session of a socket that this instance does not take over: its client comes back. */
  #closeInstead(seat: Seat): void {
    this.#answer(seat.reply, seat.number, [
      [Header.error, "its instance has gone"],
      [Header.close, "true"],
    ]);
    this.#hub.remove(seat);
    seat.conn.closeIfUnused();
  }

  /**
   * admit is called when socket.io connects a socket. What the program does in the same tick is part of the
   * admission.
   */
  admit(seat: Seat): void {
    if (seat.state !== "asked") {
      return;
    }
    seat.decided();
    seat.state = "open";
    this.#hub.outbox.hold(() => this.#publish(seat));
  }

  /** publish publishes an admission, with the rooms and the data that the socket has now. */
  #publish(seat: Seat): void {
    if (seat.state !== "open" || !seat.socket) {
      return;
    }
    const before = new Set(seat.handshake.handover?.rooms);
    const now = [...seat.socket.rooms].filter((room) => room !== seat.id && !isSocketId(room));
    const rooms = now.map(roomOnWire).filter((room) => !before.has(room));
    const text = this.#hub.data.text(seat);
    const granted = JSON.stringify({ ...seat.granted, ...(rooms.length > 0 && { rooms }) }).slice(1, -1);
    const admission = granted ? [granted] : [];
    if (text !== seat.published) {
      admission.push(`"data":${text}`);
      seat.published = text;
    }
    seat.admission = admission.length ? `[{${admission.join()}}]` : "[]";
    seat.state = "told";
    this.#tell(seat, rooms);
    const gone = [...before].filter((room) => !now.some((kept) => roomOnWire(kept) === room));
    if (gone.length > 0) {
      this.#hub.rooms.leave(seat, gone).catch(() => {}); // it is in the log
    }
  }

  #tell(seat: Seat, rooms: string[]): void {
    if (rooms.length === 0) {
      this.#answer(seat.reply, seat.number, [], seat.admission);
      seat.admitted.resolve();
      return;
    }
    const confirmation = this.#hub.unconfirmed.begin(seat.token, rooms.map(roomTail), seat.edge);
    const asked = this.#hub.rooms.confirm(seat, confirmation, {
      resolve: () => seat.admitted.resolve(),
      refused: (error) => this.#notTaken(seat, rooms, error),
    });
    if (!this.#answer(seat.reply, seat.number, [], seat.admission, asked.reply)) {
      asked.forget();
      this.#hub.unconfirmed.finish(confirmation, []);
      seat.admitted.resolve();
    }
  }

  /** notTaken is called when the edge does not take an admission with rooms. */
  #notTaken(seat: Seat, rooms: string[], error: Error): void {
    if (!error.message.endsWith("admitted already")) {
      this.#hub.log.warn("an edge does not take an admission", error.message);
      this.#hub.endLater(seat, "transport close");
    } else if (this.#hub.seats.get(seat.id) === seat) {
      // An earlier answer of this instance counts, from before it gave the socket up: it had not these rooms, data
      // and grant.
      this.#hub.rooms.join(seat, rooms).catch(() => {}); // it is in the log
      if (Object.keys(seat.granted).length > 0) {
        this.#hub.rooms.change(seat, seat.granted).catch(() => {});
      }
      seat.published = "";
      this.#hub.data.publish(seat);
    }
  }

  /** refuse is called when socket.io refuses a socket. */
  refuse(seat: Seat, why: { message?: unknown; data?: unknown }): void {
    if (seat.state !== "asked") {
      return;
    }
    seat.decided();
    const message = why.message === undefined ? "" : String(why.message);
    const refusal: Refusal = { ...refusalOf(message, JSON.stringify(why.data)), until: Date.now() + seat.remember };
    if (this.#refusals.size < maxRefusals) {
      this.#refusals.set(keyOf(seat.handshake), refusal);
    }
    this.#answer(seat.reply, seat.number, [[Header.error, refusal.message]], refusal.body);
    this.#hub.remove(seat);
    setImmediate(() => seat.conn.closeIfUnused());
  }

  /** forget forgets old refusals. */
  forget(): void {
    const now = Date.now();
    for (const [id, refusal] of this.#refusals) {
      if (now <= refusal.until) {
        return; // later ones are younger
      }
      this.#refusals.delete(id);
    }
  }

  /** answer answers a request. It reports whether it could be published; if not, the edge asks again. */
  #answer(to: string, number: number, headers: HeaderList, body = "", reply?: string): boolean {
    headers.push([Header.assignment, String(number)], [Header.from, this.#hub.instance.name]);
    return this.#hub.send(to, body, headers, reply);
  }
}

/** keyOf names a connection of a socket: one that comes back has the same id, and a refusal does not count for it. */
function keyOf(h: Handshake): string {
  return `${h.sid} ${h.issued}`;
}

/** handshakeOf returns the handshake of a connect request of a socket, or undefined if it has none. */
function handshakeOf(m: Msg, id: string): Handshake | undefined {
  try {
    const h = notice<Handshake>(m);
    const isWhole =
      h.sid === id && [h.headers, h.query, h.auth].every((member) => typeof member === "object" && member);
    return isWhole && (!h.handover || Array.isArray(h.handover.rooms)) ? h : undefined;
  } catch {
    return undefined;
  }
}

/**
 * refusalOf is a refusal with data as JSON. What a header cannot have, or what means something there, is in the
 * body.
 */
function refusalOf(message: string, data: string | undefined): { body: string; message: string } {
  if (headerText(message) === message && message !== "again" && message !== "not mine") {
    return { body: data === undefined ? "[]" : `[${data}]`, message };
  }
  return { body: `[${data ?? "null"},${JSON.stringify(message)}]`, message: "refused" };
}
