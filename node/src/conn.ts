/**
 * A Conn stands for a client's session in place of a connection of engine.io. The classes of socket.io write packets
 * to it, which it publishes, and take packets from its event "data".
 */
import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type { EdgeEngine } from "./engine";
import type { Hub } from "./hub";
import { answerError } from "./questions";
import type { Seat } from "./seat";
import { decode, encode, Header, PacketType } from "./wire";
import type { HeaderList, Packet } from "./wire";

/** The flags of an emit that matter here. */
interface WriteOptions {
  volatile?: boolean;
  compress?: boolean;
  timeout?: number;
}

/** The bounds of Sio-Timeout, in milliseconds. An ack without a timeout waits until the socket has gone. */
const maxTimeout = 600_000;
const noTimeout = "0";

/** How much longer than this process the edge waits for an ack. */
const grace = 1000;

export class Conn extends EventEmitter {
  readonly id: string;
  readonly protocol = 4;
  readonly request: IncomingMessage;
  readonly remoteAddress: string;
  readonly server: EdgeEngine;
  readonly transport: { name: string; writable: boolean };
  readyState: "open" | "closing" | "closed" = "open";
  upgraded = false;

  /** The session's sockets that this instance was asked about, by namespace. */
  readonly seats = new Map<string, Seat>();
  readonly #hub: Hub;
  /** The disconnect that the outbox holds open: it may become that of the whole session. */
  #leaving: { whole: boolean } | undefined;

  constructor(hub: Hub, id: string, request: IncomingMessage, address: string, transport: string) {
    super();
    this.#hub = hub;
    this.id = id;
    this.request = request;
    this.remoteAddress = address;
    this.server = hub.engine;
    this.transport = { name: transport, writable: true };
    this.on("newListener", listening);
  }

  /** write publishes a packet of one of the session's sockets. */
  write(packet: Packet, options: WriteOptions = {}): this {
    const seat = this.seats.get(packet.nsp);
    if (!seat || this.readyState !== "open") {
      if (packet.type === PacketType.CONNECT) {
        this.#tooLate(packet.nsp, packet.data.sid);
      }
      return this;
    }
    this.created(packet, options);
    switch (packet.type) {
      case PacketType.EVENT:
        packet.id === undefined ? this.emitTo(seat, packet, options) : this.#ask(seat, packet, options);
        break;
      case PacketType.ACK:
        this.#ack(seat, packet, options);
        break;
      case PacketType.CONNECT:
        this.#hub.admissions.admit(seat);
        break;
      case PacketType.CONNECT_ERROR:
        this.#hub.admissions.refuse(seat, packet.data);
        break;
      case PacketType.DISCONNECT:
        this.#disconnect(seat);
        break;
    }
    return this;
  }

  /** runsOver records over which transport the session runs now. */
  runsOver(transport: string): void {
    if (this.transport.name !== transport) {
      this.transport.name = transport;
      this.upgraded = true;
      this.emit("upgrade", this.transport);
    }
  }

  send(packet: Packet, options?: WriteOptions): this {
    return this.write(packet, options);
  }

  /** receive passes on a packet for one of the session's sockets, behind "packet", as engine.io does for each. */
  receive(packet: Packet): void {
    if (this.listenerCount("packet") > 0) {
      this.emit("packet", { type: "message", data: packet });
    }
    this.emit("data", packet);
  }

  /** tooLate ends a socket that socket.io has connected although it has gone meanwhile. */
  #tooLate(namespace: string, id: string): void {
    setImmediate(() => this.#hub.server._nsps.get(namespace)?.sockets.get(id)?._onclose("transport close"));
  }

  /** created emits "packetCreate", as engine.io does for each packet. */
  created(packet: Packet, options: WriteOptions): void {
    if (this.#hub.engine.listensPackets && this.listenerCount("packetCreate") > 0) {
      this.emit("packetCreate", {
        type: "message",
        data: packet,
        options: { ...options, compress: options.compress !== false },
      });
    }
  }

  /** emitTo publishes an event for a socket. */
  emitTo(seat: Seat, packet: Packet, options: WriteOptions): void {
    const headers = flags(options);
    const body = encode(packet.data, headers);
    this.#hub.send(this.#hub.subjects.toSocket(seat.token, "emit", seat.id), body, headers);
  }

  #ask(seat: Seat, packet: Packet, options: WriteOptions): void {
    const headers = flags(options);
    const body = encode(packet.data, headers);
    const { timeout } = options;
    headers.push([
      Header.timeout,
      timeout === undefined ? noTimeout : String(Math.min(Math.max(Math.ceil(timeout), 0) + grace, maxTimeout)),
    ]);
    const forget = this.#hub.expect(seat, (m) => {
      if (!answerError(m)) {
        this.receive({ type: PacketType.ACK, nsp: seat.namespace, id: packet.id, data: decode(m) });
      }
    });
    if (!this.#hub.send(this.#hub.subjects.toSocket(seat.token, "ask", seat.id), body, headers, forget.reply)) {
      forget.forget();
    }
  }

  #ack(seat: Seat, packet: Packet, options: WriteOptions): void {
    const headers = flags(options);
    const body = encode(packet.data, headers);
    this.#hub.data.flush(); // a client that has its ack may leave, and recover with what its edge has
    this.#hub.send(this.#hub.subjects.ack(seat.token, seat.id, packet.id!), body, headers);
    this.#hub.acks.end(seat);
  }

  #disconnect(seat: Seat): void {
    const leaving = { whole: false };
    this.#hub.outbox.settle(); // the admission, if it is open, comes first
    this.#hub.remove(seat);
    this.#hub.outbox.hold(() => {
      this.#leaving = undefined;
      this.#hub.send(
        this.#hub.subjects.toSocket(seat.token, "disconnect", seat.id),
        leaving.whole ? "[true]" : "[false]",
      );
    });
    this.#leaving = leaving;
    setImmediate(() => this.closeIfUnused());
  }

  /** close ends the session. Its client comes back by itself, unless a socket was disconnected in the same tick. */
  close(): void {
    if (this.readyState !== "open") {
      return;
    }
    this.readyState = "closing";
    this.#hub.conns.leave(this);
    if (this.#leaving) {
      this.#leaving.whole = true;
    } else {
      for (const seat of this.seats.values()) {
        this.#hub.send(this.#hub.subjects.toSocket(seat.token, "disconnect", seat.id), '["close"]');
        break; // one is enough for the session
      }
    }
    setImmediate(() => this.closed("forced close"));
  }

  /** closed ends the session here: the edge has closed it, or this instance knows no socket of it any more. */
  closed(reason: string): void {
    if (this.readyState === "closed") {
      return;
    }
    this.readyState = "closed";
    [...this.seats.values()].forEach((seat) => this.#hub.remove(seat));
    this.#hub.conns.forget(this);
    this.emit("close", reason);
  }

  /** closeIfUnused ends the session here once it has no socket. */
  closeIfUnused(): void {
    if (this.seats.size === 0) {
      this.closed("transport close");
    }
  }
}

function listening(this: Conn, event: string): void {
  if (event === "packetCreate") {
    this.server.listensPackets = true;
  }
}

function flags(options: WriteOptions): HeaderList {
  const headers: HeaderList = [];
  if (options.volatile) {
    headers.push([Header.volatile, "true"]);
  }
  if (options.compress === false) {
    headers.push([Header.compress, "false"]);
  }
  return headers;
}
