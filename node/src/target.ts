/** Where a broadcast, or a command for many, goes. */
import { edgeOf, isSocketId, roomOnWire, roomTail } from "./names";
import type { Hub } from "./hub";
import type { Verb } from "./subjects";
import { Header } from "./wire";
import type { HeaderList } from "./wire";

/** The options of a broadcast, as socket.io passes them to adapters. */
export interface BroadcastOptions {
  rooms: Set<any>;
  except?: Set<any>;
  flags?: { volatile?: boolean; compress?: boolean; local?: boolean; timeout?: number };
}

export interface Address {
  subject: string;
  headers: HeaderList;
  /** The edge that alone answers, if the target is one socket. */
  edge?: string;
}

/** onWire is a room or a socket's id as in subjects. */
function onWire(name: unknown): string {
  const text = String(name);
  return isSocketId(text) ? text : roomTail(roomOnWire(text));
}

/** address returns where a verb for the sockets of a target goes; undefined if the target is empty. */
export function address(
  hub: Hub,
  token: string,
  verb: Verb,
  options: BroadcastOptions,
): Address | undefined {
  const { subjects } = hub;
  const names = Array.from(options.rooms, onWire);
  const except = options.except ? Array.from(options.except, onWire) : [];
  if (names.length === 1 && isSocketId(names[0]) && verb !== "ask" && except.every(isSocketId)) {
    const edge = hub.seats.get(names[0])?.edge ?? edgeOf(names[0]);
    return except.includes(names[0])
      ? undefined
      : { subject: subjects.toSocket(token, verb, names[0]), headers: [], edge };
  }
  const isOneRoom = names.length === 1 && !isSocketId(names[0]);
  // Verbs other than emit reach every edge anyway.
  const onRoom = isOneRoom && (verb !== "emit" || !hub.unconfirmed.has(token, names[0]));
  const headers: HeaderList = except.map((name) => [Header.except, name]);
  if (onRoom) {
    return { subject: subjects.toRoom(token, verb, names[0]), headers };
  }
  names.forEach((name) => headers.push([Header.rooms, name]));
  return { subject: subjects.toAll(token, verb), headers };
}
