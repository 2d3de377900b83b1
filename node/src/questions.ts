/** Questions to many: to all edges, or to all other instances. */
import type { Msg } from "@nats-io/transport-node";
import { AnswerError } from "./errors";
import type { Members } from "./members";
import type { Outbox } from "./outbox";
import type { Link } from "./link";
import { Header, header, isNoResponders } from "./wire";
import type { Outgoing } from "./wire";

/** How long a question waits for its answers, in milliseconds. */
export const patience = 5000;

/** If no member is known: how long a question waits for the first answer, and then until it is quiet. */
const firstAnswer = 1000;
const quietAfter = 250;

export interface Gathering {
  /** Who must answer. */
  members: string[];
  /** Where the members are watched: one that dies needs not answer. */
  among: Members;
  /** take gets each answer, and returns the member whose last one it is; undefined for none. It may throw. */
  take(m: Msg): string | undefined;
  /** atMost is how long to wait, in milliseconds. */
  atMost: number;
}

/**
 * gather publishes a question, and resolves once all members that lived then have answered or died, or the time is
 * over. It returns those that have not answered. If no member is known, it waits until no answer has come for a
 * while.
 */
export function gather(link: Link, outbox: Outbox, question: Outgoing, g: Gathering): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const waiting = new Set(g.members);
    const known = waiting.size > 0;
    const dead: string[] = [];
    let quiet: NodeJS.Timeout | undefined;
    const inbox = link.expect((m) => {
      if (isNoResponders(m)) {
        return end();
      }
      try {
        waiting.delete(g.take(m) ?? "");
      } catch (error) {
        return end(error as Error);
      }
      look(quietAfter);
    });
    const end = (error?: Error) => {
      inbox.forget();
      stopWatching();
      clearTimeout(limit);
      clearTimeout(quiet);
      error ? reject(error) : resolve([...dead, ...waiting]);
    };
    const look = (quietFor: number) => {
      if (known && waiting.size === 0) {
        return end();
      }
      if (!known) {
        clearTimeout(quiet);
        quiet = setTimeout(end, quietFor);
      }
    };
    const stopWatching = g.among.onChange(() => {
      for (const member of waiting) {
        if (!g.among.has(member)) {
          waiting.delete(member);
          dead.push(member);
        }
      }
      look(quietAfter);
    });
    const limit = setTimeout(end, g.atMost);
    try {
      outbox.publish(question.subject, question.body, question.headers, inbox.reply);
      look(firstAnswer);
    } catch (error) {
      end(error as Error);
    }
  });
}

/** answerError returns the error that an answer is, or undefined. */
export function answerError(m: Msg): AnswerError | undefined {
  if (isNoResponders(m)) {
    return new AnswerError("nothing subscribes there");
  }
  const text = header(m, Header.error);
  return text ? new AnswerError(text) : undefined;
}

/** isLastPart reports whether a message is the last one of an answer. */
export function isLastPart(m: Msg): boolean {
  const part = header(m, Header.part);
  return part === "" || part.endsWith(" last");
}
