/** serverSideEmit: events among instances (docs/subjects.md, Events among services). */
import type { Msg } from "@nats-io/transport-node";
import type { EdgeAdapter } from "./adapter";
import type { Hub } from "./hub";
import { eventTail, tokensOf } from "./names";
import { answerError, gather, patience } from "./questions";
import { decode, encode, header, Header, headerText } from "./wire";
import type { HeaderList } from "./wire";

export class Services {
  readonly #hub: Hub;
  /** What refuses the questions of other instances that handlers have not answered yet, by namespace. */
  readonly #unanswered = new Map<string, Set<() => void>>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** start subscribes to events of other instances. */
  start(): void {
    for (const token of tokensOf(this.#hub.options.namespaces)) {
      this.#hub.link.subscribe(this.#hub.subjects.everyService(token), (m) => this.#receive(m));
    }
  }

  /** emit sends an event to the other instances. If its last argument is a function, it gets their answers. */
  emit(adapter: EdgeAdapter, packet: any[]): void {
    const hub = this.#hub;
    const values = [...packet];
    const ack = typeof values.at(-1) === "function" ? values.pop() : undefined;
    const headers: HeaderList = [[Header.from, hub.instance.name]];
    const body = encode(values, headers);
    const subject = hub.subjects.service(adapter.token, eventTail(String(values[0])));
    if (!ack) {
      hub.send(subject, body, headers);
      return;
    }
    const { peers } = hub.instance;
    const members = peers.handling(adapter.nsp.name);
    if (members.length === 0) {
      ack(null, []);
      return;
    }
    const responses: any[] = [];
    gather(
      hub.link,
      hub.outbox,
      { subject, body, headers },
      {
        members,
        among: peers,
        atMost: patience,
        take: (m) => {
          if (!answerError(m)) {
            responses.push(decode(m)[0]);
          }
          return header(m, Header.from);
        },
      },
    ).then(
      (silent) => {
        ack(
          silent.length > 0
            ? new Error(`timeout reached: missing ${silent.length} responses`)
            : null,
          responses,
        );
      },
      (error) => ack(error, responses),
    );
  }

  #receive(m: Msg): void {
    const hub = this.#hub;
    if (header(m, Header.from) === hub.instance.name) {
      return;
    }
    const name = hub.nameOf(hub.subjects.parseService(m.subject).namespace);
    const nsp = name !== undefined && this.#hub.server._nsps.get(name);
    if (!nsp) {
      this.#refuse(m, "this instance has no such namespace");
      return;
    }
    const values = decode(m);
    if (m.reply) {
      values.push(this.#answerer(m, name!));
    }
    process.nextTick(() => nsp._onServerSideEmit(values)); // handlers may throw
  }

  /** answerer is the callback that a handler gets. */
  #answerer(m: Msg, namespace: string): (answer: unknown) => void {
    const unanswered = this.#unanswered.get(namespace) ?? new Set();
    this.#unanswered.set(namespace, unanswered);
    const refuse = () => this.#refuse(m, "the namespace was closed");
    const forget = setTimeout(() => unanswered.delete(refuse), patience).unref(); // then no instance waits any more
    unanswered.add(refuse);
    let answered = false;
    return (answer) => {
      if (!answered) {
        answered = true;
        clearTimeout(forget);
        unanswered.delete(refuse);
        const headers: HeaderList = [[Header.from, this.#hub.instance.name]];
        const body = encode([answer], headers);
        this.#hub.send(m.reply!, body, headers);
      }
    };
  }

  /** close is called when a namespace is closed: no one waits for the answers of its handlers. */
  close(namespace: string): void {
    const unanswered = this.#unanswered.get(namespace);
    this.#unanswered.delete(namespace);
    unanswered?.forEach((refuse) => refuse());
    unanswered?.clear();
  }

  #refuse(m: Msg, why: string): void {
    if (m.reply) {
      this.#hub.send(m.reply, "", [
        [Header.error, headerText(why)],
        [Header.from, this.#hub.instance.name],
      ]);
    }
  }
}
