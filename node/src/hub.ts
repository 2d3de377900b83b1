/** The hub joins the parts of one Server, and passes on what edges send. */
import type { Msg } from "@nats-io/transport-node";
import { Acks } from "./acks";
import { Admissions } from "./admissions";
import { Conns } from "./conns";
import { DataKeeper } from "./data";
import { EdgeEngine } from "./engine";
import { OfflineError } from "./errors";
import type { Follower } from "./follow";
import { Instance } from "./instance";
import { Link } from "./link";
import type { Expectation } from "./link";
import { Complaints } from "./log";
import { namespaceName } from "./names";
import type { Settings } from "./options";
import { Outbox } from "./outbox";
import { Pauses } from "./pauses";
import { Rooms } from "./rooms";
import type { Seat, State } from "./seat";
import { Services } from "./services";
import { Subjects } from "./subjects";
import { Unconfirmed } from "./unconfirmed";
import { decode, header, Header, notice, PacketType } from "./wire";
import type { HeaderList } from "./wire";

/** The reasons of edges that the reference does not have. To a program, the connection broke. */
const edgesOwnReasons = new Set(["queue overflow", "rate exceeded", "owner changed"]);

/** The reasons after which a client may come back to the same socket. */
const brokenReasons = new Set([
  "transport close",
  "transport error",
  "ping timeout",
  "forced close",
  "forced server close",
  "server shutting down",
]);

/** The reasons after which the session goes on. */
const namespaceReasons = new Set(["client namespace disconnect", "server namespace disconnect"]);

export class Hub {
  readonly options: Settings;
  /** The Server. */
  server: any;
  readonly log: Complaints;
  readonly subjects: Subjects;
  readonly link: Link;
  readonly outbox: Outbox;
  readonly engine = new EdgeEngine();
  readonly seats = new Map<string, Seat>();
  readonly conns = new Conns(this);
  readonly unconfirmed: Unconfirmed;
  readonly rooms = new Rooms(this);
  readonly data = new DataKeeper(this);
  readonly admissions = new Admissions(this);
  readonly services = new Services(this);
  readonly acks = new Acks();
  readonly followers = new Set<Follower>();
  readonly pauses = new Pauses(this);
  readonly instance: Instance;
  /** What is done behind the events that have been dispatched: the ends of sockets, and what comes after them. */
  #later: (() => void)[] = [];

  constructor(options: Settings) {
    this.options = options;
    this.log = new Complaints(options.logger);
    this.subjects = new Subjects(options.prefix);
    this.unconfirmed = Unconfirmed.of(options.prefix);
    this.link = new Link(options.nats, this.log);
    this.outbox = new Outbox(this.link);
    this.instance = new Instance(this);
  }

  /** send publishes a message. If that fails, it reports why, and returns false. */
  send(subject: string, body: string | Uint8Array, headers?: HeaderList, reply?: string): boolean {
    try {
      this.outbox.publish(subject, body, headers, reply);
      return true;
    } catch (error) {
      if (this.options.onOffline === "throw" && error instanceof OfflineError) {
        throw error;
      }
      this.log.warn("a message was not sent", (error as Error).message);
      this.engine.emit("publish_error", error);
      return false;
    }
  }

  /** expect returns a reply subject for one answer, which is not expected any more once the socket has gone. */
  expect(seat: Seat, take: (m: Msg) => void): Expectation {
    const forget = () => {
      inbox.forget();
      seat.expected.delete(forget);
    };
    const inbox = this.link.expect((m) => {
      forget();
      take(m);
    });
    seat.expected.add(forget);
    return { reply: inbox.reply, forget };
  }

  /**
   * command returns a reply subject for the answer to a command for a socket. Until it has come, notices about the
   * socket wait. take gets undefined if the socket has gone before.
   */
  command(seat: Seat, take: (m: Msg | undefined) => void): Expectation {
    let isOpen = true;
    const end = () => {
      isOpen = false;
      seat.unanswered--;
      seat.expected.delete(gone);
      inbox.forget();
    };
    const gone = () => {
      if (isOpen) {
        end();
        take(undefined);
      }
    };
    const inbox = this.link.expect((m) => {
      end();
      const error = header(m, Header.error);
      seat.rev = Math.max(seat.rev, (!error && decodeAnswer(m)?.rev) || 0);
      if (error === "unknown socket") {
        seat.latest = undefined; // it has gone: its last rooms are those here
      }
      take(m);
      if (seat.unanswered === 0) {
        this.rooms.apply(seat);
      }
    });
    seat.unanswered++;
    seat.expected.add(gone);
    return {
      reply: inbox.reply,
      forget: () => {
        if (isOpen) end();
      },
    };
  }

  /** receive processes what an edge sends to this instance. */
  receive(m: Msg): void {
    const { namespace, event } = this.subjects.parseOwn(m.subject);
    if (event === "disconnecting") {
      this.instance.leaving.marker(namespace, notice<{ edge: string }>(m).edge);
      return;
    }
    if (event === "connect" && !m.reply) {
      const state = notice<State>(m);
      const seat = this.seats.get(state.sid);
      seat && this.rooms.noticed(seat, state);
      return;
    }
    const sender = this.subjects.parseSender(m.reply);
    if (!sender || sender.namespace !== namespace) {
      this.log.warn("a message was ignored: its reply subject names no socket of its namespace", m.subject);
    } else if (event === "connect") {
      this.#behindEnds(() => this.admissions.request(m, namespace, sender.socket));
    } else if (event === "disconnect") {
      this.#ended(sender.socket, notice<Ended>(m));
    } else {
      this.#event(m, namespace, sender.socket, sender.ack);
    }
  }

  #event(m: Msg, token: string, id: string, ack: string): void {
    const seat = this.seats.get(id);
    if (!seat || this.instance.fence.isCutOff()) {
      this.sayNotOwner(token, id, seat);
      return;
    }
    let data;
    try {
      data = decode(m);
    } catch (error) {
      this.log.warn("an event cannot be read", (error as Error).message);
      return;
    }
    this.pauses.count(seat);
    if (ack === "") {
      seat.conn.receive({ type: PacketType.EVENT, nsp: seat.namespace, data });
    } else {
      this.acks.begin(seat);
      seat.conn.receive({ type: PacketType.EVENT, nsp: seat.namespace, data, id: ack });
    }
  }

  /**
   * sayNotOwner tells the edge that an event of a socket that is not owned here was lost. It assigns the socket
   * again.
   */
  sayNotOwner(token: string, id: string, seat?: Seat): void {
    const headers: HeaderList = [
      [Header.error, "not owner"],
      [Header.from, this.instance.name],
    ];
    if (seat) {
      headers.push([Header.assignment, String(seat.number)]);
    }
    this.send(this.subjects.ack(token, id, "connect"), "", headers);
  }

  #ended(id: string, about: Ended): void {
    const seat = this.seats.get(id);
    if (seat && typeof about?.reason === "string" && !(about.assignment && about.assignment < seat.number)) {
      this.rooms.last(seat, about.rooms);
      this.endLater(seat, about.reason);
    }
  }

  /** endLater ends a socket behind the events that have come for it. */
  endLater(seat: Seat, reason: string): void {
    this.#doLater(() => this.end(seat, reason));
  }

  /** behindEnds runs at once, or behind the ends of sockets that wait: one may be of the same session. */
  #behindEnds(run: () => void): void {
    this.#later.length > 0 ? this.#doLater(run) : run();
  }

  #doLater(run: () => void): void {
    if (this.#later.length === 0) {
      setImmediate(() => {
        const list = this.#later;
        this.#later = [];
        runAll(list);
      });
    }
    this.#later.push(run);
  }

  /** end ends a socket of this instance, as if its client's connection had told it. */
  end(seat: Seat, edgesReason: string): void {
    if (seat.state === "ended") {
      return;
    }
    this.outbox.settle();
    const reason = edgesOwnReasons.has(edgesReason) ? "transport close" : edgesReason;
    const { conn, socket } = seat;
    this.remove(seat);
    seat.mayComeBack = brokenReasons.has(edgesReason);
    if (conn.seats.size > 0 || namespaceReasons.has(reason)) {
      (socket as any)?._onclose(reason);
      conn.closeIfUnused();
    } else {
      conn.closed(reason);
    }
  }

  /** release gives up a socket whose client is still there. What its handlers still send gets to the client. */
  release(seat: Seat): void {
    if (seat.state === "asked") {
      this.admissions.again(seat);
      return;
    }
    this.data.publish(seat);
    const { socket } = seat;
    this.seats.delete(seat.id);
    seat.state = "released";
    [...seat.expected].forEach((forget) => forget());
    if (socket?.connected) {
      this.engine.emit("handover", socket, "leaving");
      (socket as any).connected = false;
      socket._cleanup();
    }
  }

  /** remove forgets a socket that has ended. */
  remove(seat: Seat): void {
    seat.state = "ended";
    seat.decided();
    if (this.seats.get(seat.id) === seat) {
      this.seats.delete(seat.id);
    }
    if (seat.conn.seats.get(seat.namespace) === seat) {
      seat.conn.seats.delete(seat.namespace);
    }
    this.acks.forget(seat);
    seat.admitted.resolve();
    [...seat.expected].forEach((forget) => forget());
  }

  /** nameOf is the namespace with a token, or undefined. */
  nameOf(token: string): string | undefined {
    try {
      return namespaceName(token);
    } catch {
      return undefined;
    }
  }
}

/** What an edge says about a socket that has ended, or has another owner. */
interface Ended {
  reason: string;
  rooms?: string[];
  assignment?: number;
}

/** runAll runs a list. If one of a program's handlers throws, the rest runs all the same. */
function runAll(list: (() => void)[]): void {
  while (list.length > 0) {
    try {
      list.shift()!();
    } catch (error) {
      setImmediate(() => runAll(list));
      throw error;
    }
  }
}

function decodeAnswer(m: Msg): { rev?: number } | undefined {
  try {
    return decode(m)[0];
  } catch {
    return undefined;
  }
}
