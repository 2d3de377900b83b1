/** This instance among others: its name, its announcements, and those of edges and peers. */
import { randomInt } from "node:crypto";
import type { Msg, Subscription } from "@nats-io/transport-node";
import { Beats } from "./beats";
import { Edges } from "./edges";
import { Fence } from "./fence";
import type { Hub } from "./hub";
import { Leaving } from "./leaving";
import { beatEvery, Members } from "./members";
import { tokensOf } from "./names";
import type { Seat } from "./seat";
import { decode, Header } from "./wire";
import type { HeaderList, Outgoing } from "./wire";

/** How often the instance looks for what ends without a message, in milliseconds. */
const attendEvery = 100;

/** When the main thread beats itself, because the worker does not: in milliseconds since the last confirmed beat. */
const helpAfter = 1500;

/** How long leaving waits for acks of handlers before it hands their sockets over, in milliseconds. */
const finishAtMost = 1000;

/**
 * How long edges are awaited that answer the first hello: until none has for a while, and at most, in milliseconds.
 */
const helloQuiet = 50;
const helloAtMost = 250;

export class Instance {
  readonly edges: Edges;
  /** The other instances of the group. */
  readonly peers = new Members();
  readonly beats: Beats;
  readonly fence: Fence;
  readonly leaving: Leaving;
  name: string;
  state: "starting" | "running" | "leaving" | "left" = "starting";

  readonly #hub: Hub;
  #own: Subscription[] = [];
  #former: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looked = 0;
  #reconnects = 0;
  #helped = 0;

  constructor(hub: Hub) {
    this.#hub = hub;
    this.beats = new Beats(hub.log);
    this.fence = new Fence(() => this.beats.confirmed);
    this.leaving = new Leaving(hub);
    this.edges = new Edges(hub.options.edgesSecret);
    this.name = this.#newName();
  }

  #newName(): string {
    const letters = "abcdefghijklmnopqrstuvwxyz234567";
    return this.#hub.options.group + "-" + Array.from({ length: 8 }, () => letters[randomInt(32)]).join("");
  }

  /** subscribe makes the subscriptions; they are active before hello is published. */
  subscribe(): void {
    const { link, subjects, options } = this.#hub;
    if (this.state === "left") { // started again: edges know that the earlier name has gone
      this.name = this.#newName();
      this.beats.reset();
    }
    link.subscribe(subjects.everyEdge(), (m) => this.#hearEdge(m));
    for (const word of ["hello", "beat", "left", "bye"]) {
      link.subscribe(subjects.instance(options.group, "*", word), (m) => this.#hearPeer(m, word));
    }
    this.#takeName();
  }

  /** start announces the instance. Edges may assign sockets once it has said hello. */
  async start(): Promise<void> {
    await this.beats.start(this.#hub.options.nats); // else only this thread would beat at first, and it may be busy
    this.state = "running";
    const said = Date.now();
    let finish = () => {};
    const heardAll = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const quiet = setTimeout(finish, helloQuiet);
    const asked = this.#hub.link.expect((m) => {
      const edge = decode(m)[0]?.edge;
      if (typeof edge === "string" && this.edges.announced(edge, "beat", m) !== "ignored") {
        quiet.refresh();
      }
    });
    this.#say("hello", asked.reply);
    if (await this.#hub.link.flushed(5000)) {
      this.beats.confirm(said);
    }
    this.#looked = Date.now();
    this.#reconnects = this.#hub.link.reconnects;
    this.beats.ran(this.#hub.link.connected);
    this.#setBeat();
    this.#timer = setInterval(() => this.#attend(), attendEvery);
    setTimeout(finish, helloAtMost).unref();
    await heardAll;
    asked.forget();
  }

  /** mayOwn reports whether this instance may own sockets now. */
  mayOwn(): boolean {
    return this.state === "running" && !this.fence.isCutOff();
  }

  /** announcement is one of this instance. */
  announcement(word: string, name = this.name): Outgoing {
    const { subjects, options } = this.#hub;
    const subject = subjects.instance(options.group, name, word);
    return { subject, body: JSON.stringify([{ ...this.#about(name), at: Date.now() }]) };
  }

  #about(name: string): Record<string, unknown> {
    const { group, namespaces } = this.#hub.options;
    return { instance: name, group, owns: true, namespaces, every: beatEvery };
  }

  #say(word: string, reply?: string): void {
    const { subject, body } = this.announcement(word);
    this.#publish(subject, body, undefined, reply);
  }

  #publish(subject: string, body: string | Uint8Array, headers?: HeaderList, reply?: string): boolean {
    try {
      this.#hub.outbox.publish(subject, body, headers, reply);
      return true;
    } catch {
      return false; // without NATS, the next beat says it
    }
  }

  #setBeat(): void {
    const { subjects, options } = this.#hub;
    const isBeating = this.state === "running" || this.state === "leaving";
    this.beats.set(
      isBeating
        ? { subject: subjects.instance(options.group, this.name, "beat"), body: this.#about(this.name) }
        : undefined,
    );
  }

  #takeName(): void {
    const { link, subjects, options } = this.#hub;
    this.#own = [
      ...tokensOf(options.namespaces).map((token) =>
        link.subscribe(subjects.own(token, this.name), (m) => this.#hub.receive(m)),
      ),
      link.subscribe(subjects.instance(options.group, this.name, "ping"), (m) => this.#pong(m)),
    ];
  }

  #pong(m: Msg): void {
    if (m.reply && !this.fence.isCutOff() && m.reply.endsWith(`.pong.${this.name}`)) {
      this.#publish(m.reply, "[]");
    }
  }

  #hearPeer(m: Msg, word: string): void {
    const name = this.#hub.subjects.tokens(m.subject)[2];
    if (name === this.name) {
      if (word === "beat") {
        this.#hub.pauses.beat(decode(m)[0].at);
      }
      return;
    }
    if (word === "left" || word === "bye") {
      this.peers.leaves(name);
      return;
    }
    try {
      this.peers.hear(name, decode(m)[0]?.namespaces ?? []);
    } catch {
      return; // no announcement
    }
    if (word === "hello" && this.state === "running") {
      this.#say("beat"); // so that the peer has this instance at once
    }
  }

  #hearEdge(m: Msg): void {
    const [, edge, word] = this.#hub.subjects.tokens(m.subject);
    const news = this.edges.announced(edge, word, m);
    if (news === "ignored") {
      this.#hub.log.warn(
        "an announcement of an edge was ignored: it is not signed with the option edgesSecret, or is a copy",
        m.subject,
      );
      return;
    }
    if (news === "back") {
      // its sockets have no owner here any more: it assigns them again
      this.#publish(this.#hub.subjects.pong(edge, this.name), "[]", [[Header.error, "not owner"]]);
    } else if (news === "died") {
      this.#edgeDied(edge);
    }
    if (word === "hello" && this.state === "running") {
      this.#say("beat"); // so that the edge has this instance before it is ready
    }
  }

  /** attend finds what ends without a message. */
  #attend(): void {
    const now = Date.now();
    const { link } = this.#hub;
    this.beats.ran(link.connected);
    this.fence.look(link.connected, this.#looked);
    if (!link.connected || now - this.#looked > beatEvery || link.reconnects !== this.#reconnects) {
      this.edges.forgive(now); // this process did not listen: their silence means nothing
      this.peers.forgive(now);
    }
    if (link.connected && link.reconnects !== this.#reconnects) {
      this.#reconnects = link.reconnects;
      this.#say(this.state === "leaving" ? "leaving" : "hello");
    }
    this.#looked = now;
    this.#help(now);
    this.#mayFence();
    this.edges.dead(now).forEach((edge) => this.#edgeDied(edge));
    this.peers.expire(now);
    this.#hub.admissions.forget();
  }

  /** help beats from this thread if the worker does not. */
  #help(now: number): void {
    const { link } = this.#hub;
    if (link.connected && now - this.beats.confirmed > helpAfter && now - this.#helped > helpAfter / 2) {
      this.#helped = now;
      if (!this.fence.isCutOff(now)) {
        this.#say("beat");
      }
      void link.flushed(beatEvery).then((isFlushed) => isFlushed && this.beats.confirm(now));
    }
  }

  #edgeDied(edge: string): void {
    const lost = this.#seats().filter((seat) => seat.edge === edge);
    if (lost.length === 0) {
      return;
    }
    this.edges.mourn(edge);
    this.#hub.log.warn(
      "an edge has died or gone, and with it sockets that this instance owns",
      `${edge}, ${lost.length} sockets`,
    );
    lost.forEach((seat) => this.#hub.endLater(seat, "transport close"));
  }

  #seats(): Seat[] {
    return [...this.#hub.seats.values()];
  }

  /** mayFence gives up all sockets if the edges may have given up this instance, which goes on under a new name. */
  #mayFence(): void {
    const isBeating = this.state === "running" || this.state === "leaving";
    const owned = isBeating && this.fence.isCutOff() ? this.#seats().filter((seat) => seat.instance === this.name) : [];
    if (owned.length === 0) {
      this.#buryFormer();
      return;
    }
    const old = this.name;
    this.name = this.#newName();
    this.#former.push(old);
    this.#hub.log.warn(
      "this instance was cut off from NATS and owns nothing any more; it goes on under a new name",
      `${old}, now ${this.name}`,
    );
    this.#own.forEach((subscription) => subscription.unsubscribe());
    this.#takeName();
    this.#setBeat();
    owned.forEach((seat) => this.#hub.end(seat, "owner changed"));
    this.#say(this.state === "leaving" ? "leaving" : "hello");
    this.#buryFormer();
  }

  /** buryFormer publishes bye for earlier names, so that edges need not wait until these have missed their beats. */
  #buryFormer(): void {
    while (this.#former.length > 0) {
      const { subject, body } = this.announcement("bye", this.#former[0]);
      if (!this.#publish(subject, body)) {
        return;
      }
      this.#former.shift();
    }
  }

  /** leave has the edges stop, releases all sockets, and says that the instance has left. */
  async leave(atMost: number): Promise<void> {
    if (this.state !== "running") {
      return;
    }
    this.state = "leaving";
    await this.leaving
      .edgesStop(atMost)
      .catch((error) => this.#hub.log.warn("edges were not told that this instance leaves", error.message));
    await new Promise((resolve) => setImmediate(resolve)); // the last events have been dispatched
    await this.#hub.acks.finished(finishAtMost);
    this.#seats().forEach((seat) => this.#hub.release(seat));
    await this.end("left");
  }

  /** end announces the end of the instance, and stops its beats. */
  async end(word: "left" | "bye"): Promise<void> {
    this.state = "left";
    clearInterval(this.#timer);
    this.#setBeat();
    this.#say(word);
    if (word === "left") {
      await this.#hub.link.flushed(1000);
      this.#say("bye");
    }
    await this.#hub.link.flushed(1000);
    this.#own.forEach((subscription) => subscription.unsubscribe());
    await this.beats.stop();
  }
}
