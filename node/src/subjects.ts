/** The grammar of the subjects (docs/subjects.md) that this package publishes to and receives. */

export type Verb =
  "emit" | "ask" | "join" | "leave" | "disconnect" | "fetch" | "rooms" | "data" | "grant" | "member" | "pause" | "resume";

/** What comes in for this instance: a client's event, or the edge's own words. */
export interface OwnSubject {
  /** The namespace's token. */
  namespace: string;
  /** The tail of the event's name. */
  event: string;
}

/** The socket in the reply subject of a message. */
export interface Sender {
  namespace: string;
  socket: string;
  /** The number of the client's ack, "connect" for a connect request, "" for the socket's own address. */
  ack: string;
}

export class Subjects {
  readonly #dotted: string;

  constructor(prefix: string) {
    if (
      !/^(?!\$|_INBOX(?:\.|$))[^\s.*>\0-\x1f\x7f]+(?:\.[^\s.*>\0-\x1f\x7f]+)*$/u.test(prefix) ||
      Buffer.byteLength(prefix) > 128
    ) {
      throw new Error(
        `partyline: option prefix: ${JSON.stringify(prefix)} is no prefix of subjects; write the edge's nats.prefix`,
      );
    }
    this.#dotted = prefix + ".";
  }

  toAll(namespace: string, verb: Verb): string {
    return `${this.#dotted}${namespace}.${verb}.all`;
  }

  toRoom(namespace: string, verb: Verb, room: string): string {
    return `${this.#dotted}${namespace}.${verb}.room.${room}`;
  }

  toSocket(namespace: string, verb: Verb, socket: string): string {
    return `${this.#dotted}${namespace}.${verb}.socket.${socket}`;
  }

  ack(namespace: string, socket: string, number: string | number): string {
    return `${this.#dotted}${namespace}.ack.${socket}.${number}`;
  }

  service(namespace: string, event: string): string {
    return `${this.#dotted}${namespace}.service.${event}`;
  }

  /** everyService matches the events of services in a namespace; `*` for all. */
  everyService(namespace: string): string {
    return `${this.#dotted}${namespace}.service.>`;
  }

  /** own matches all that edges send to an instance about a namespace; `*` for all. */
  own(namespace: string, instance: string): string {
    return `${this.#dotted}${namespace}.own.${instance}.>`;
  }

  everyEdge(): string {
    return `${this.#dotted}$edge.*.*`;
  }

  pong(edge: string, instance: string): string {
    return `${this.#dotted}$edge.${edge}.pong.${instance}`;
  }

  instance(group: string, instance: string, word: string): string {
    return `${this.#dotted}$svc.${group}.${instance}.${word}`;
  }

  /** tokens returns what is behind the prefix. */
  tokens(subject: string): string[] {
    return subject.slice(this.#dotted.length).split(".");
  }

  parseOwn(subject: string): OwnSubject {
    const at = this.#dotted.length;
    const first = subject.indexOf(".", at);
    const owner = subject.indexOf(".", first + 1) + 1;
    return { namespace: subject.slice(at, first), event: subject.slice(subject.indexOf(".", owner) + 1) };
  }

  /** parseService returns the namespace's token and the tail of the event of a subject of a service. */
  parseService(subject: string): OwnSubject {
    const [namespace, , ...event] = this.tokens(subject);
    return { namespace, event: event.join(".") };
  }

  /** parseSender returns the socket in a reply subject, or undefined. It runs for each event, so it makes no array. */
  parseSender(reply: string | undefined): Sender | undefined {
    if (!reply?.startsWith(this.#dotted)) {
      return undefined;
    }
    const at = this.#dotted.length;
    const first = reply.indexOf(".", at);
    if (reply.startsWith("ack.", first + 1)) {
      const id = first + 1 + "ack.".length;
      const end = reply.indexOf(".", reply.indexOf(".", id) + 1);
      const ack = reply.slice(end + 1);
      return end > id && !ack.includes(".") ? { namespace: reply.slice(at, first), socket: reply.slice(id, end), ack } : undefined;
    }
    const [namespace, verb, third, fourth, fifth] = this.tokens(reply);
    if (verb === "emit" && third === "socket" && fifth !== undefined) {
      return { namespace, socket: `${fourth}.${fifth}`, ack: "" };
    }
    return undefined;
  }
}
