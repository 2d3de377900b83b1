/**
 * Names of namespaces, events and rooms as they stand in subjects (docs/subjects.md, Names in subjects). The table in
 * subjects/testdata/names.json tests this file.
 */
import { createHash } from "node:crypto";

/** Limits of a name: bytes before escaping, and tokens of an event or a room. */
const maxNameBytes = 512;
const maxNameTokens = 16;

const plain = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const loneSurrogate = /\p{Surrogate}/u;
const targetWord = /^(?:all|room|socket|\$ready)(?:\.|$)/;

/** The form of a socket's id: no room has such a name. */
const socketId = /^[0-9a-z]{8}\.[A-Za-z0-9_-]{20}$/;

export function isSocketId(name: string): boolean {
  return name.length === 29 && socketId.test(name);
}

/** edgeOf returns the id of the edge where a socket connected. */
export function edgeOf(id: string): string {
  return id.slice(0, 8);
}

function escaped(char: string): string {
  return "%" + char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0");
}

function check(name: string): void {
  if (loneSurrogate.test(name)) {
    throw new Error("the name is not valid UTF-8: it has half of a surrogate pair");
  }
  if (name.length > maxNameBytes || Buffer.byteLength(name) > maxNameBytes) {
    throw new Error(`the name is longer than ${maxNameBytes} bytes`);
  }
}

/** namespaceToken spells a namespace, such as "/chat". It throws if no subject can have the name. */
export function namespaceToken(name: string): string {
  if (name[0] !== "/") {
    throw new Error('a namespace begins with "/"');
  }
  check(name);
  const rest = name.slice(1);
  if (plain.test(rest)) {
    return rest;
  }
  if (rest === "") {
    return "_";
  }
  if (rest === "_") {
    return "%5F";
  }
  return rest.replace(/[\0- %*>.\x7f]|^\$/g, escaped);
}

function tail(name: string, isEvent: boolean): string {
  if (plain.test(name) && name.length <= maxNameBytes && !(isEvent && targetWord.test(name))) {
    return name;
  }
  if (name === "") {
    return "%";
  }
  check(name);
  // A dot separates tokens unless it is first, last or behind a dot.
  let spelled = name.replace(/[\0- %*>\x7f]|^\.|\.$|(?<=\.)\./g, escaped);
  if (isEvent && targetWord.test(spelled)) {
    spelled = escaped(spelled[0]) + spelled.slice(1);
  }
  if (spelled.split(".").length > maxNameTokens) {
    throw new Error(`the name has more than ${maxNameTokens} tokens (parts between dots)`);
  }
  return spelled;
}

/** eventTail spells an event's name. It throws if no subject can have the name. */
export function eventTail(name: string): string {
  return tail(name, true);
}

/** roomTail spells a room's name. It throws if no subject can have the name. */
export function roomTail(name: string): string {
  return tail(name, false);
}

function unescaped(spelled: string): string {
  if (/%(?![0-9A-F]{2})/.test(spelled)) {
    throw new Error("the spelling has a bad escape");
  }
  return decodeURIComponent(spelled);
}

function name(spelled: string, read: (spelled: string) => string, spell: (name: string) => string): string {
  const found = read(spelled);
  if (spell(found) !== spelled) {
    throw new Error("it is not the spelling of a name");
  }
  return found;
}

/** namespaceName is the inverse of namespaceToken. It throws if the token spells no namespace. */
export function namespaceName(token: string): string {
  if (token !== "_" && plain.test(token) && token.length < maxNameBytes) {
    return "/" + token;
  }
  return name(token, (t) => (t === "_" ? "/" : "/" + unescaped(t)), namespaceToken);
}

/** eventName is the inverse of eventTail. It throws if the tail spells no event. */
export function eventName(spelled: string): string {
  return name(spelled, (t) => (t === "%" ? "" : unescaped(t)), eventTail);
}

/** roomName is the inverse of roomTail. It throws if the tail spells no room. */
export function roomName(spelled: string): string {
  return name(spelled, (t) => (t === "%" ? "" : unescaped(t)), roomTail);
}

/** matches reports whether a name matches a pattern, in which * is any run of characters. */
export function matches(pattern: string, name: string): boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) {
    return pattern === name;
  }
  const first = parts.shift()!;
  const last = parts.pop()!;
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) {
    return false;
  }
  let at = first.length;
  for (const part of parts) {
    const found = name.indexOf(part, at);
    if (found < 0) {
      return false;
    }
    at = found + part.length;
  }
  return at <= name.length - last.length;
}

/**
 * tokensOf are the tokens of namespaces in subscriptions: `*` if one is a pattern, else each one's, as NATS permits
 * it.
 */
export function tokensOf(namespaces: string[]): string[] {
  return namespaces.some((name) => name.includes("*")) ? ["*"] : namespaces.map(namespaceToken);
}

/** Rooms whose names no subject can have, by the name that stands for them on the wire. */
const hashedRooms = new Map<string, string>();

/** Past this many, hashes are not resolved any more: other programs then show `~<hash>` as the room's name. */
const maxHashedRooms = 10_000;

/** roomOnWire is the name of a room for edges: the name itself, or `~<sha256>` if no subject can have it. */
export function roomOnWire(room: string): string {
  if (plain.test(room) && room.length <= maxNameBytes) {
    return room;
  }
  try {
    roomTail(room);
    return room;
  } catch {
    const hash = "~" + createHash("sha256").update(JSON.stringify(room)).digest("hex");
    if (hashedRooms.size < maxHashedRooms) {
      hashedRooms.set(hash, room);
    }
    return hash;
  }
}

/** roomFromWire is the inverse of roomOnWire, for rooms that this process has used. */
export function roomFromWire(room: string): string {
  return room[0] === "~" ? (hashedRooms.get(room) ?? room) : room;
}
