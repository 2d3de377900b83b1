/** Grants: whose sockets they are, what their clients may do by themselves, and for how long (docs/subjects.md, Grants). */
import { Namespace, Server } from "socket.io";
import { roomOnWire } from "./names";
import { headerText } from "./wire";

/** What a grant changes. A member that is not there stays as it is; null takes it back. */
export interface Grant {
  /** Whose sockets they are. */
  user?: string | null;
  /** The sockets enter these rooms, and leave those of earlier grants that are not among them. Other rooms stay. */
  rooms?: string[] | null;
  /** Patterns of rooms that clients may enter with the event "join". null: what the namespace allows. */
  join?: string[] | null;
  /** Patterns of rooms that they may leave with the event "leave". null: what the namespace allows. */
  leave?: string[] | null;
  /** Patterns of other events that they may emit. null: what the namespace allows. */
  emit?: string[] | null;
  /** When the edge closes the clients' connections if this is not changed before. null: never. */
  expires?: Date | null;
}

/** A grant as edges read it. */
export interface WireGrant extends Omit<Grant, "expires"> {
  /** In seconds since 1970. */
  expires?: number | null;
}

/** The bounds of patterns: how many one member has, and the bytes of one. */
const maxPatterns = 100;
const maxPatternBytes = 512;

function arePatterns(value: any): boolean {
  const isPattern = (p: unknown) => typeof p === "string" && p !== "" && Buffer.byteLength(p) <= maxPatternBytes;
  return Array.isArray(value) && value.length <= maxPatterns && value.every(isPattern);
}

const forms: Record<keyof Grant, (value: any) => boolean> = {
  user: (value) => typeof value === "string" && headerText(value) === value,
  rooms: Array.isArray,
  join: arePatterns,
  leave: arePatterns,
  emit: arePatterns,
  expires: (value) => value instanceof Date && value.getTime() > 0,
};

/** grantOnWire throws a TypeError if a member is unknown or has another form. */
export function grantOnWire(grant: Grant): WireGrant {
  const given = Object.entries(grant).filter(([, value]) => value !== undefined);
  for (const [member, value] of given) {
    const fits = forms[member as keyof Grant];
    if (!fits || (value !== null && !fits(value))) {
      throw new TypeError(`partyline: a grant cannot have ${member}: ${value}`);
    }
  }
  const { rooms, expires } = grant;
  return {
    ...Object.fromEntries(given),
    ...(rooms && { rooms: rooms.map((room) => roomOnWire(String(room))) }),
    ...(expires && { expires: Math.floor(expires.getTime() / 1000) }),
  };
}

declare module "socket.io" {
  interface Socket<ListenEvents, EmitEvents, ServerSideEvents, SocketData> {
    /**
     * setGrant changes what the socket is and may do. In a middleware it becomes part of the admission. The promise is
     * resolved once the edge has done it, and rejected with an AnswerError if it refuses.
     */
    setGrant(grant: Grant): Promise<void>;
  }
  interface BroadcastOperator<EmitEvents, SocketData> {
    /**
     * setGrant changes what these sockets are and may do. The promise is resolved with how many they are, and rejected
     * with an AnswerError if an edge refuses or does not answer.
     */
    setGrant(grant: Grant): Promise<number>;
  }
  interface Namespace<ListenEvents, EmitEvents, ServerSideEvents, SocketData> {
    /** setGrant changes what all sockets of the namespace are and may do, as that of `io.to(room)` does. */
    setGrant(grant: Grant): Promise<number>;
  }
}

const BroadcastOperator: any = new Server().to("").constructor;

BroadcastOperator.prototype.setGrant = function (this: any, grant: Grant) {
  return this.adapter.setGrant({ rooms: this.rooms, except: this.exceptRooms, flags: this.flags }, grant);
};

Namespace.prototype.setGrant = function (grant) {
  return new BroadcastOperator(this.adapter).setGrant(grant);
};
