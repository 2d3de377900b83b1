/** Bodies and headers of the contract (docs/subjects.md, Bodies and Headers). */
import { headers } from "@nats-io/transport-node";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";

/** The types of Socket.IO packets, as in socket.io-parser. */
export const PacketType = { CONNECT: 0, DISCONNECT: 1, EVENT: 2, ACK: 3, CONNECT_ERROR: 4 } as const;

/** A packet as the real classes of socket.io pass it. */
export interface Packet {
  type: number;
  nsp: string;
  data?: any;
  id?: number | string;
}

/** What one event or ack may have. */
const maxAttachments = 10;

/** The names of the headers. */
export const Header = {
  assignment: "Sio-Assignment",
  attachments: "Sio-Attachments",
  close: "Sio-Close",
  compress: "Sio-Compress",
  error: "Sio-Error",
  except: "Sio-Except",
  expect: "Sio-Expect",
  from: "Sio-From",
  ownedBy: "Sio-Owned-By",
  part: "Sio-Part",
  pending: "Sio-Pending",
  rooms: "Sio-Rooms",
  signature: "Sio-Signature",
  socket: "Sio-Socket",
  timeout: "Sio-Timeout",
  volatile: "Sio-Volatile",
} as const;

export type HeaderList = [name: string, value: string][];

/** A message to be published. */
export interface Outgoing {
  subject: string;
  body: string | Uint8Array;
  headers?: HeaderList;
  reply?: string;
}

/** makeHeaders returns headers for NATS; undefined for none. */
export function makeHeaders(list: HeaderList | undefined): MsgHdrs | undefined {
  if (!list?.length) {
    return undefined;
  }
  const made = headers();
  for (const [name, value] of list) {
    made.append(name, value);
  }
  return made;
}

/** header returns a header of a message, "" for none. */
export function header(m: Msg, name: string): string {
  return m.headers ? m.headers.get(name) : "";
}

/** headerText makes a text that fits into a header, and is not empty. */
export function headerText(text: unknown): string {
  return (
    String(text)
      .replace(/[\0-\x1f\x7f]/g, " ")
      .trim() || "refused"
  );
}

function isBinary(value: object): value is ArrayBuffer | ArrayBufferView {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
}

function bytes(value: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
}

/** hasBinary reports whether a value has binary data at any depth, as the reference looks for it. */
function hasBinary(value: any, afterToJSON = false): boolean {
  if (!value || typeof value !== "object") {
    return false;
  }
  if (isBinary(value)) {
    return true;
  }
  if (Array.isArray(value)) {
    return value.some((item) => hasBinary(item));
  }
  if (typeof value.toJSON === "function" && !afterToJSON) {
    return hasBinary(value.toJSON(), true);
  }
  for (const key in value) {
    if (Object.prototype.hasOwnProperty.call(value, key) && hasBinary(value[key])) {
      return true;
    }
  }
  return false;
}

/** withPlaceholders replaces binary data by placeholders, and collects it. */
function withPlaceholders(value: any, found: Uint8Array[], afterToJSON = false): any {
  if (!value || typeof value !== "object") {
    return value;
  }
  if (isBinary(value)) {
    found.push(bytes(value));
    return { _placeholder: true, num: found.length - 1 };
  }
  if (Array.isArray(value)) {
    return value.map((item) => withPlaceholders(item, found));
  }
  if (value instanceof Date) {
    return value;
  }
  if (typeof value.toJSON === "function" && !afterToJSON) {
    return withPlaceholders(value.toJSON(), found, true);
  }
  const copy: Record<string, any> = {};
  for (const key in value) {
    if (Object.prototype.hasOwnProperty.call(value, key)) {
      copy[key] = withPlaceholders(value[key], found);
    }
  }
  return copy;
}

/**
 * encode makes the body of an event or an ack, and adds the header for its attachments to the list. It throws if the
 * values are not JSON, as socket.io does, or have more than ten attachments.
 */
export function encode(values: unknown[], list: HeaderList): string | Uint8Array {
  if (!hasBinary(values)) {
    return JSON.stringify(values);
  }
  const found: Uint8Array[] = [];
  const text = JSON.stringify(withPlaceholders(values, found));
  if (found.length > maxAttachments) {
    throw new TypeError(
      `partyline: ${found.length} binary attachments in one packet; at most ${maxAttachments} are possible`,
    );
  }
  list.push([Header.attachments, found.map((f) => f.length).join(",")]);
  return Buffer.concat([Buffer.from(text), ...found]);
}

function withAttachments(value: any, found: Buffer[]): any {
  if (!value || typeof value !== "object") {
    return value;
  }
  if (value._placeholder === true) {
    const attachment = found[value.num];
    if (!attachment) {
      throw new Error("illegal attachments");
    }
    return attachment;
  }
  for (const key of Object.keys(value)) {
    value[key] = withAttachments(value[key], found);
  }
  return value;
}

/** decode returns the values of a body. It throws if the body is not what its headers say, or no array. */
export function decode(m: Msg): any[] {
  const data = Buffer.from(m.data.buffer, m.data.byteOffset, m.data.byteLength);
  const lengths = header(m, Header.attachments);
  if (!lengths) {
    return array(JSON.parse(data.toString()));
  }
  const sizes = lengths.split(",").map(Number);
  let at = data.length - sizes.reduce((sum, size) => sum + size, 0);
  const values = array(JSON.parse(data.toString("utf8", 0, at)));
  const found = sizes.map((size) => data.subarray(at, (at += size)));
  return withAttachments(values, found);
}

function array(value: unknown): any[] {
  if (!Array.isArray(value)) {
    throw new Error("the body is no array");
  }
  return value;
}

/** notice returns the second element of a body that an edge made, such as `["disconnect",{…}]`. */
export function notice<T>(m: Msg): T {
  return decode(m)[1] as T;
}

/** isNoResponders reports whether a message is NATS's report that nothing subscribes to what was published. */
export function isNoResponders(m: Msg): boolean {
  return m.data.length === 0 && m.headers?.code === 503;
}
