/** Edges, or the other instances of the group, that live as far as their announcements show. */
import { matches } from "./names";

/** Whoever is silent for so long is dead, in milliseconds. */
export const deadAfter = 3500;

/** How often edges and instances announce themselves, in milliseconds. */
export const beatEvery = 1000;

/** Others may be made up. */
const maxMembers = 4096;

interface Member {
  /** When its last announcement came. */
  heard: number;
  /** Of an instance: what it handles, by name or pattern. */
  namespaces: string[];
}

export class Members {
  readonly #byName = new Map<string, Member>();
  readonly #watchers = new Set<() => void>();

  /** hear records an announcement of a member. */
  hear(name: string, namespaces: string[] = [], now = Date.now()): void {
    if (this.#byName.has(name) || this.#byName.size < maxMembers) {
      this.#byName.set(name, { heard: now, namespaces });
    }
  }

  /**
   * leaves removes a member unless its last announcement is younger than atLeast. It reports whether the member
   * lived.
   */
  leaves(name: string, atLeast = 0): boolean {
    const member = this.#byName.get(name);
    if (!member || Date.now() - member.heard < atLeast) {
      return false;
    }
    this.#byName.delete(name);
    this.#changed();
    return true;
  }

  /** expire removes and returns the members that have been silent for too long. */
  expire(now = Date.now()): string[] {
    const dead = [...this.#byName].filter(([, m]) => now - m.heard > deadAfter).map(([name]) => name);
    dead.forEach((name) => this.#byName.delete(name));
    if (dead.length > 0) {
      this.#changed();
    }
    return dead;
  }

  /** forgive ignores the silence of members up to now, because this process did not listen. */
  forgive(now = Date.now()): void {
    this.#byName.forEach((member) => {
      member.heard = now;
    });
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  get names(): string[] {
    return [...this.#byName.keys()];
  }

  /** handling returns the instances that handle a namespace. */
  handling(namespace: string): string[] {
    return [...this.#byName]
      .filter(([, m]) => m.namespaces.some((pattern) => matches(pattern, namespace)))
      .map(([name]) => name);
  }

  /** onChange calls watcher whenever a member goes, until the returned function is called. */
  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #changed(): void {
    this.#watchers.forEach((watcher) => watcher());
  }
}
