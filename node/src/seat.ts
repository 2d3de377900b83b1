/** A seat is a socket as its edge knows it: what this instance was asked about it, and what it has answered. */
import type { Conn } from "./conn";
import type { WireGrant } from "./grant";
import { edgeOf } from "./names";
import type { Settings } from "./options";
import type { EdgeSocket } from "./socket";

/** A socket's rooms and data as of a notice of its edge. */
export interface State {
  sid: string;
  rev: number;
  rooms: string[];
  data: unknown;
  transport?: string;
}

/** The handshake of a connect request (docs/subjects.md, Connect). */
export interface Handshake {
  sid: string;
  auth: Record<string, unknown>;
  query: Record<string, string>;
  headers: Record<string, string>;
  address: string;
  url: string;
  secure: boolean;
  xdomain: boolean;
  issued: number;
  time: string;
  session?: string;
  transport?: string;
  /** Without from, this instance is the first that is asked about a socket that its edge has admitted. */
  handover?: { from?: string; rev: number; rooms: string[]; user?: string; data?: unknown };
  /** The edge that holds the socket, if its id names another one. */
  edge?: string;
  /** With handover: the client has just come back. */
  recovered?: boolean;
  /** With recovered: this instance decides again whether the socket may connect. */
  decides?: boolean;
}

export class Seat {
  readonly id: string;
  /** The edge that holds the socket. */
  readonly edge: string;
  /** The namespace's name. */
  readonly namespace: string;
  /** The namespace's token in subjects. */
  readonly token: string;
  readonly handshake: Handshake;
  readonly conn: Conn;
  /** The name under which this instance was asked. */
  readonly instance: string;

  socket: EdgeSocket | undefined;
  /** The number of the latest assignment. */
  number: number;
  /** Where the latest request is answered. */
  reply: string;
  /**
   * asked: no decision yet. open: admitted, and not published yet. told: the admission was published. released:
   * handed over.
   */
  state: "asked" | "open" | "told" | "released" | "ended" = "asked";
  /** Events whose clients wait for an ack. */
  unacked = 0;
  /** What the program has granted so far, for the admission. Its rooms are those of the socket. */
  readonly granted: WireGrant = {};
  /** The body of the admission, once it is told. */
  admission = "[]";
  /** Resolved when the rooms of the admission are active. */
  readonly admitted = new Admitted();
  /** Whether the socket has ended because its connection broke: its client may come back, and gets what was sent. */
  mayComeBack = false;
  /** How long the decision is remembered, in milliseconds. */
  remember = 0;
  /** Forgets the answers that are expected while the socket lives. */
  readonly expected = new Set<() => void>();
  /** Sends Sio-Pending. */
  pending: NodeJS.Timeout | undefined;

  /** The rev of the latest answer to a command of this instance. Infinity once the socket's end has been reported. */
  rev = 0;
  /** Commands of this instance that are not answered yet: meanwhile notices wait in latest. */
  unanswered = 0;
  latest: State | undefined;
  /** Rooms, as on the wire, that the edge is asked to take the socket out of. */
  readonly leaving = new Set<string>();
  /** The socket's data as edges have it: JSON. */
  published = "{}";

  constructor(
    handshake: Handshake,
    namespace: string,
    token: string,
    conn: Conn,
    instance: string,
    number: number,
    reply: string,
  ) {
    this.id = handshake.sid;
    this.edge = holder(handshake);
    this.handshake = handshake;
    this.namespace = namespace;
    this.token = token;
    this.conn = conn;
    this.instance = instance;
    this.number = number;
    this.reply = reply;
    if (handshake.handover) {
      this.rev = handshake.handover.rev;
      this.published = JSON.stringify(handshake.handover.data ?? {});
    }
  }

  /** skipsMiddlewares reports whether the socket has come back, and is admitted without the program's middlewares. */
  skipsMiddlewares({ skipMiddlewares }: Settings): boolean {
    return skipMiddlewares && this.handshake.recovered === true && this.isFormer;
  }

  /** isFormer reports whether an instance admitted the socket before, so that it keeps what it was granted. */
  get isFormer(): boolean {
    return this.handshake.handover?.from !== undefined && !this.handshake.decides;
  }

  /** decided ends what was done until there is a decision. */
  decided(): void {
    clearTimeout(this.pending);
    this.pending = undefined;
  }
}

/** holder is the edge that holds the socket of a handshake. */
export function holder(h: Handshake): string {
  return h.edge ?? edgeOf(h.sid);
}

/** Admitted is a promise that is made when someone waits for it. */
class Admitted {
  #done = false;
  #waiting: (() => void)[] | undefined;

  resolve(): void {
    this.#done = true;
    this.#waiting?.forEach((wake) => wake());
    this.#waiting = undefined;
  }

  wait(): Promise<void> {
    return this.#done
      ? Promise.resolve()
      : new Promise((resolve) => {
          (this.#waiting ??= []).push(resolve);
        });
  }
}
