/** Who is in a room, and who enters and leaves it (docs/subjects.md, Presence). */
import type { Msg, Subscription } from "@nats-io/transport-node";
import { Namespace } from "socket.io";
import type { EdgeAdapter } from "./adapter";
import { isSocketId, roomOnWire, roomTail } from "./names";
import { answerError, gather, isLastPart, patience } from "./questions";
import { decode, notice } from "./wire";

/** A socket in a room. */
export interface Member {
  id: string;
  /** Left out if it has none, or one of more than 512 bytes. */
  user?: string;
  /** Why it has left: "leave", or the reason of its disconnect. Left out while it is there. */
  reason?: string;
}

/** What an edge publishes about a room. */
interface News {
  edge: string;
  /** It counts the edge's messages about the room; 1: joined is all members there. */
  n: number;
  joined: Member[];
  left: Member[];
}

/** The members at one edge. n is that of its last message; 0: any may follow. */
interface List {
  n: number;
  members: Map<string, Member>;
}

/** How often changed is called at most, and how long after a failure edges are asked again, in milliseconds. */
const followEvery = 100;
const followAgain = 1000;

/** The most bytes of a user that edges publish. */
const maxUserBytes = 512;

/** Why a member has left whose edge has gone, or does not list it any more. */
const gone = "transport close";

declare module "socket.io" {
  interface Namespace<ListenEvents, EmitEvents, ServerSideEvents, SocketData> {
    /**
     * follow calls changed with the members of a room, which may be none, and then with those who enter and leave, at
     * most ten times a second. A member with another user is in joined again. The edges must show who is in the room
     * (presence in their configuration). It ends when the returned function is called, or the server is closed.
     */
    follow(room: string, changed: (joined: Member[], left: Member[]) => void): () => void;
  }
}

Namespace.prototype.follow = function (room, changed) {
  if (isSocketId(room)) {
    throw new TypeError(`partyline: ${room} is the id of a socket, not a room`);
  }
  const follower = new Follower(this.adapter as any as EdgeAdapter, roomTail(roomOnWire(room)), changed);
  return () => follower.stop();
};

export class Follower {
  readonly #adapter: EdgeAdapter;
  readonly #room: string;
  readonly #changed: (joined: Member[], left: Member[]) => void;
  readonly #timer: NodeJS.Timeout;
  #subscription: Subscription | undefined;
  readonly #lists = new Map<string, List>();
  /** What changed was called with. */
  readonly #told = new Map<string, Member>();
  /** Why members have left. */
  readonly #reasons = new Map<string, string>();
  #live: string[] = [];
  #reconnects = 0;
  /** What edges have published since they were asked; undefined while they are not. */
  #later: News[] | undefined;
  #isDue = true;
  #isKnown = false;
  #isTold = false;
  /** What changed was called with may be different from what is. */
  #isStale = true;
  /** When edges may be asked again. */
  #again = 0;

  constructor(adapter: EdgeAdapter, room: string, changed: (joined: Member[], left: Member[]) => void) {
    this.#adapter = adapter;
    this.#room = room;
    this.#changed = changed;
    this.#timer = setInterval(() => this.#look(), followEvery).unref();
    adapter.hub.followers.add(this);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#subscription?.unsubscribe();
    this.#adapter.hub.followers.delete(this);
  }

  #look(): void {
    const { link, instance, subjects } = this.#adapter.hub;
    if (instance.state === "starting" || !link.connected) {
      return;
    }
    const subject = subjects.toRoom(this.#adapter.token, "member", this.#room);
    this.#subscription ??= link.subscribe(subject, (m) => this.#take(m));
    const live = instance.edges.names;
    this.#isDue ||= link.reconnects !== this.#reconnects || live.some((edge) => !this.#live.includes(edge));
    this.#reconnects = link.reconnects;
    this.#keep(live);
    if (this.#isDue && !this.#later && Date.now() >= this.#again) {
      void this.#ask();
    }
    if (this.#isKnown && this.#isStale) {
      this.#tell();
    }
  }

  /** keep forgets the members at all edges but the live ones. */
  #keep(live: string[]): void {
    this.#live = live;
    for (const edge of this.#lists.keys()) {
      if (!live.includes(edge)) {
        this.#lists.delete(edge);
        this.#isStale = true;
      }
    }
  }

  #take(m: Msg): void {
    const news = notice<News>(m);
    const list = this.#lists.get(news.edge);
    const isNext = news.n === 1 || (list ? list.n === 0 || news.n === list.n + 1 : this.#later !== undefined);
    this.#later?.push(news);
    this.#apply(news);
    this.#isDue ||= !isNext;
  }

  #apply({ edge, n, joined, left }: News): void {
    const members = n === 1 ? new Map() : (this.#lists.get(edge)?.members ?? new Map());
    this.#lists.set(edge, { n, members });
    this.#isStale = true;
    for (const { id, reason = gone } of left) {
      members.delete(id);
      this.#reasons.set(id, reason);
    }
    for (const { id, user } of joined) {
      members.set(id, user ? { id, user } : { id });
    }
  }

  /** ask asks all edges who is in the room. What they have published since counts more than their answers. */
  async #ask(): Promise<void> {
    const { hub, token } = this.#adapter;
    const { edges } = hub.instance;
    const question = { subject: hub.subjects.toRoom(token, "fetch", this.#room), body: "", headers: [] };
    const answers = new Map<string, Member[]>();
    const take = (m: Msg) => {
      const error = answerError(m);
      if (error) {
        throw error;
      }
      const [{ edge }, ...sockets] = decode(m);
      const shown = (user = "") => (Buffer.byteLength(user) <= maxUserBytes ? user : undefined);
      const members = sockets.map(({ id, user }) => ({ id, user: shown(user) }));
      answers.set(edge, (answers.get(edge) ?? []).concat(members));
      return isLastPart(m) ? edge : undefined;
    };
    this.#isDue = false;
    this.#later = [];
    try {
      const asked = { members: edges.names, among: edges, atMost: patience, take };
      const silent = await gather(hub.link, hub.outbox, question, asked);
      silent.forEach((edge) => answers.delete(edge)); // a part of its answer may be missing
      for (const [edge, joined] of answers) {
        const n = this.#lists.get(edge)?.n ?? 0;
        this.#lists.delete(edge);
        this.#apply({ edge, n: 0, joined, left: [] });
        this.#later.filter((news) => news.edge === edge).forEach((news) => this.#apply(news));
        this.#lists.get(edge)!.n = n;
      }
      if (silent.some((edge) => edges.has(edge))) {
        throw new Error(`${silent.length} edges have not answered (${silent.join(", ")})`);
      }
    } catch (error) {
      this.#isDue = true;
      this.#again = Date.now() + followAgain;
      hub.log.warn("the members of a room are not known; asking again", (error as Error).message);
    }
    this.#keep(this.#live); // an edge that is not known yet is asked again when it is
    this.#later = undefined;
    this.#isKnown = true;
  }

  /** tell calls changed with what is different from what it was called with. */
  #tell(): void {
    const members = new Map([...this.#lists.values()].flatMap((list) => [...list.members]));
    const isNew = ({ id, user }: Member) => !this.#told.has(id) || this.#told.get(id)!.user !== user;
    const joined = [...members.values()].filter(isNew);
    const left = [...this.#told.values()]
      .filter(({ id }) => !members.has(id))
      .map((member) => ({ ...member, reason: this.#reasons.get(member.id) ?? gone }));
    this.#reasons.clear();
    this.#isStale = false;
    joined.forEach((member) => this.#told.set(member.id, member));
    left.forEach(({ id }) => this.#told.delete(id));
    if (joined.length > 0 || left.length > 0 || !this.#isTold) {
      this.#isTold = true;
      this.#changed(joined, left); // of the program: it may throw
    }
  }
}
