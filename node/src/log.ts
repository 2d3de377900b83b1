/** Where the package writes what no caller gets as an error; console by default. */
export interface Logger {
  info(text: string): void;
  warn(text: string): void;
  error(text: string): void;
}

/** How often the same complaint is written, in milliseconds. */
const every = 60_000;

/** Complaints writes each kind of complaint at most once a minute, with how often it was left out. */
export class Complaints {
  readonly #logger: Logger;
  readonly #said = new Map<string, { at: number; more: number }>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  warn(kind: string, detail = ""): void {
    const now = Date.now();
    const said = this.#said.get(kind);
    if (said && now - said.at < every) {
      said.more++;
      return;
    }
    this.#said.set(kind, { at: now, more: 0 });
    const more = said?.more ? ` (and ${said.more} more since)` : "";
    this.#logger.warn(`partyline: ${kind}${detail && `: ${detail}`}${more}`);
  }
}

export const consoleLogger: Logger = {
  info: () => {},
  warn: (text) => console.warn(text),
  error: (text) => console.error(text),
};
