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
        const expected = members.length;
        ack(
          silent.length > 0
            ? new Error(`timeout reached: only ${expected - silent.length} responses received out of ${expected}`)
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
      let answered = false;
      values.push((answer: unknown) => {
        if (!answered) {
          answered = true;
          const headers: HeaderList = [[Header.from, hub.instance.name]];
          const body = encode([answer], headers);
          hub.send(m.reply!, body, headers);
        }
      });
    }
    process.nextTick(() => nsp._onServerSideEmit(values)); // handlers may throw
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
