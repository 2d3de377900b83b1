/** `socket.data`, which edges keep: a change is published when the tick ends, so that other instances see it. */
import type { Hub } from "./hub";
import { answerError } from "./questions";
import type { Seat } from "./seat";
import { dataOf, setData } from "./socket";

/** How many bytes of JSON an edge keeps for a socket. */
const maxData = 65_536;

export class DataKeeper {
  readonly #hub: Hub;
  readonly #touched = new Set<Seat>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** touch notes that a program has read the data of a socket, so that it may change it. */
  touch(seat: Seat): void {
    if (this.#touched.size === 0) {
      setImmediate(() => this.flush());
    }
    this.#touched.add(seat);
  }

  /** flush publishes the data that has changed. */
  flush(): void {
    for (const seat of this.#touched) {
      this.publish(seat);
    }
    this.#touched.clear();
  }

  /** publish publishes the data of a socket if it has changed. */
  publish(seat: Seat): void {
    if (seat.state !== "told" || !seat.socket) {
      return; // the admission has the data
    }
    if (!this.#hub.link.canPublish) {
      return; // the next change is compared with what edges have
    }
    const text = this.text(seat);
    if (text === seat.published) {
      return;
    }
    const subject = this.#hub.subjects.toSocket(seat.token, "data", seat.id);
    const asked = this.#hub.command(seat, (m) => {
      const error = m && answerError(m);
      if (error && !error.message.endsWith("unknown socket")) {
        this.#hub.log.warn("an edge does not keep the data of a socket", error.message);
      }
    });
    if (this.#hub.send(subject, `[${text}]`, undefined, asked.reply)) {
      seat.published = text;
    } else {
      asked.forget();
    }
  }

  /**
   * text is the data of a socket as JSON. Data that edges cannot keep stays in this process: then it is what they
   * have.
   */
  text(seat: Seat): string {
    let why = "";
    try {
      const text = JSON.stringify(dataOf(seat.socket!)) ?? "{}";
      if (text.length * 3 <= maxData || Buffer.byteLength(text) <= maxData) {
        return text;
      }
      why = `it has more than ${maxData} bytes`;
    } catch (error) {
      why = (error as Error).message;
    }
    this.#hub.log.warn("the data of a socket is not kept by its edge, so other instances do not see it", why);
    return seat.published;
  }

  /** noticed takes over data that another program has set. */
  noticed(seat: Seat, data: unknown): void {
    const text = JSON.stringify(data ?? {});
    if (seat.socket && text !== seat.published) {
      seat.published = text;
      setData(seat.socket, data);
    }
  }
}
