/** EdgeSocket is a Socket of socket.io whose id is the edge's. */
import { Socket } from "socket.io";
import type { EdgeAdapter } from "./adapter";
import { grantOnWire } from "./grant";
import type { Grant } from "./grant";
import { OfflineError } from "./errors";
import type { Seat } from "./seat";
import { PacketType } from "./wire";
import type { Packet } from "./wire";

/** Where the value of `socket.data` is. */
const value = Symbol("data");

export class EdgeSocket extends (Socket as any as new (nsp: any, client: any, auth: any, previous?: any) => Socket) {
  readonly seat: Seat;
  /** ending is true once the socket leaves its rooms because it ends. */
  ending = false;

  constructor(nsp: any, client: any, auth: any, seat: Seat) {
    super(nsp, client, auth, previousSession(seat));
    this.seat = seat;
    seat.socket = this;
    if (!seat.handshake.handover?.from) { // a new socket, of which its edge may know more
      (this as any).id = seat.id;
      (this as any).recovered = false;
    }
    this.handshake.issued = seat.handshake.issued;
    this.handshake.time = seat.handshake.time;
  }

  /** emit fails at once without NATS if its ack has a time-out: the callback gets an OfflineError. */
  override emit(event: any, ...values: any[]): boolean {
    const ack = values.at(-1);
    const { flags } = this as any;
    if (typeof ack === "function" && flags.timeout !== undefined && !this.#adapter.hub.link.canPublish) {
      (this as any).flags = {};
      process.nextTick(() => ack.call(this, new OfflineError()));
      return true;
    }
    return super.emit(event, ...values);
  }

  /** emitWithAck is rejected at once without NATS. */
  override emitWithAck(event: any, ...values: any[]): Promise<any> {
    return this.#adapter.hub.link.canPublish
      ? super.emitWithAck(event, ...values)
      : Promise.reject(new OfflineError());
  }

  override setGrant(grant: Grant): Promise<void> {
    const given = grantOnWire(grant);
    const done = this.#adapter.hub.rooms.grant(this.seat, given, grant.rooms ?? []);
    done.catch(() => {}); // logged
    return done;
  }

  override onAnyOutgoing(listener: (...args: any[]) => void): this {
    this.#adapter.listensOutgoing = true;
    return super.onAnyOutgoing(listener);
  }

  override prependAnyOutgoing(listener: (...args: any[]) => void): this {
    this.#adapter.listensOutgoing = true;
    return super.prependAnyOutgoing(listener);
  }

  /** _cleanup is called by socket.io when the socket ends. */
  override _cleanup(): void {
    this.ending = true;
    const now = this.#adapter.hub?.seats.get(this.id); // an adapter of the program's own has no hub
    if (now && now !== this.seat) {
      return; // its client has come back: the rooms are those of the new socket
    }
    (Socket.prototype as any)._cleanup.call(this);
  }

  get #adapter(): EdgeAdapter {
    return this.nsp.adapter as unknown as EdgeAdapter;
  }
}

// What is sent to a socket whose connection broke is published nevertheless: its client may come back, and a namespace
// with recovery has kept it.
(EdgeSocket.prototype as any).packet = function (this: EdgeSocket, packet: Packet, options: any = {}) {
  const { seat } = this;
  if (seat?.mayComeBack && packet.type === PacketType.EVENT && packet.id === undefined) {
    seat.conn.emitTo(seat, packet, options);
  } else {
    (Socket.prototype as any).packet.call(this, packet, options);
  }
};

// A property that finds out when a program may be about to change its value: then it is compared when the tick ends.
Object.defineProperty(EdgeSocket.prototype, "data", {
  configurable: true,
  get(this: any) {
    if (this.seat) {
      this.nsp.adapter.hub.data.touch(this.seat);
    }
    return this[value];
  },
  set(this: any, data: unknown) {
    this[value] = data;
    if (this.seat) {
      this.nsp.adapter.hub.data.publish(this.seat); // at once: before what the program emits next
      this.nsp.adapter.hub.data.touch(this.seat);
    }
  },
});

/** dataOf returns the value of `socket.data` without touching it. */
export function dataOf(socket: EdgeSocket): unknown {
  return (socket as any)[value];
}

/** setData replaces the value of `socket.data` by what edges have. */
export function setData(socket: EdgeSocket, data: unknown): void {
  (socket as any)[value] = data;
}

/** previousSession makes a socket that another instance owned before one that socket.io calls recovered. */
function previousSession(seat: Seat): object | undefined {
  const { handover } = seat.handshake;
  return handover && { sid: seat.id, rooms: handover.rooms, data: handover.data ?? {}, missedPackets: [] };
}
