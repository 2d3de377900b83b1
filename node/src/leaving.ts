/** Leaving in two steps, so that no event is lost (docs/subjects.md, Leaving). */
import type { Hub } from "./hub";
import { namespaceToken } from "./names";
import { gather } from "./questions";
import { decode } from "./wire";

export class Leaving {
  readonly #hub: Hub;
  /** The end markers that have come: nothing more comes from the edge in the namespace. */
  readonly #markers = new Set<string>();
  #came: (() => void) | undefined;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** marker notes an end marker of an edge. */
  marker(namespace: string, edge: string): void {
    this.#markers.add(`${edge} ${namespace}`);
    this.#came?.();
  }

  /** edgesStop announces that the instance leaves, and waits until all that edges have sent has come. */
  async edgesStop(atMost: number): Promise<void> {
    const { instance, link, outbox } = this.#hub;
    const wanted: { edge: string; marker: string }[] = [];
    const silent = await gather(link, outbox, instance.announcement("leaving"), {
      members: instance.edges.names,
      among: instance.edges,
      atMost,
      take: (m) => {
        const { edge, markers } = decode(m)[0];
        for (const namespace of markers ?? []) {
          wanted.push({ edge, marker: `${edge} ${namespaceToken(namespace)}` });
        }
        return edge;
      },
    });
    if (silent.length > 0) {
      this.#hub.log.warn("edges did not answer that this instance leaves", silent.join(", "));
    }
    await this.#allCame(wanted, atMost);
  }

  #allCame(wanted: { edge: string; marker: string }[], atMost: number): Promise<void> {
    const { edges } = this.#hub.instance;
    const isDone = () => wanted.every(({ edge, marker }) => this.#markers.has(marker) || !edges.has(edge));
    if (isDone()) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(limit);
        stopWatching();
        this.#came = undefined;
        resolve();
      };
      const look = () => {
        isDone() && end();
      };
      const limit = setTimeout(() => {
        this.#hub.log.warn("end markers of edges have not come: events may be lost");
        end();
      }, atMost);
      const stopWatching = edges.onChange(look);
      this.#came = look;
    });
  }
}
