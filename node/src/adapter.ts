/** EdgeAdapter broadcasts over NATS. Its rooms are a mirror of those of the sockets that this instance owns. */
import { Server } from "socket.io";
import type { Namespace } from "socket.io";
import { askMany, fetchSockets, moveMany } from "./everyone";
import { grantOnWire } from "./grant";
import type { Grant } from "./grant";
import type { Hub } from "./hub";
import { isSocketId, namespaceToken, roomOnWire } from "./names";
import { EdgeSocket } from "./socket";
import { address } from "./target";
import type { BroadcastOptions } from "./target";
import { encode, Header } from "./wire";
import type { Packet } from "./wire";

type Adapter = Namespace["adapter"];

/** The adapter in memory, which a plain Server has. */
const MemoryAdapter = new Server().adapter() as unknown as new (nsp: any) => Adapter;

export class EdgeAdapter extends MemoryAdapter {
  readonly hub: Hub;
  /** The namespace's token in subjects. */
  readonly token: string;
  /** Whether a socket here has ever listened to what is sent. */
  listensOutgoing = false;
  /** Questions that are not answered yet, under the names that the reference's adapters of clusters have for them. */
  readonly requests = new Set<object>();
  readonly ackRequests = new Set<object>();

  constructor(nsp: any, hub: Hub) {
    super(nsp);
    this.hub = hub;
    this.token = namespaceToken(nsp.name);
    const run = nsp.run.bind(nsp);
    nsp.run = (socket: any, done: (error?: any) => void) =>
      socket.seat?.skipsMiddlewares(hub.options) ? done() : run(socket, done);
    nsp._createSocket = (client: any, auth: any) =>
      new EdgeSocket(nsp, client, auth, client.conn.seats.get(nsp.name));
  }

  /** mirror changes the rooms of a socket here, without asking its edge. */
  mirror(id: string, join: Iterable<string>, leave: Iterable<string>): void {
    const joined = new Set(join);
    if (joined.size > 0 && this.sids.has(id)) {
      super.addAll(id, joined);
    }
    for (const room of leave) {
      super.del(id, room);
    }
  }

  override addAll(id: string, rooms: Set<any>): Promise<void> | void {
    const names = new Set(Array.from(rooms, String));
    const seat = this.hub.seats.get(id);
    const fresh = [...names].filter((room) => room !== id && !isSocketId(room) && !this.sids.get(id)?.has(room));
    super.addAll(id, names);
    if (!seat || fresh.length === 0) {
      return;
    }
    if (seat.state !== "told") {
      return seat.state === "open" ? seat.admitted.wait() : undefined; // the admission has the rooms
    }
    const joined = this.hub.rooms.join(seat, fresh);
    joined.catch(() => {}); // logged; a caller that awaits it gets the error
    return joined;
  }

  override del(id: string, room: any): Promise<void> | void {
    const name = String(room);
    const had = this.sids.get(id)?.has(name);
    super.del(id, name);
    return had ? this.#leave(id, [name]) : undefined;
  }

  override delAll(id: string): void {
    const rooms = [...(this.sids.get(id) ?? [])];
    super.delAll(id);
    const seat = this.hub.seats.get(id);
    if (seat?.socket && !seat.socket.ending) {
      void this.#leave(id, rooms);
    }
  }

  #leave(id: string, rooms: string[]): Promise<void> | void {
    const seat = this.hub.seats.get(id);
    const left = rooms.filter((room) => !isSocketId(room)).map(roomOnWire);
    if (seat?.state !== "told" || left.length === 0) {
      return;
    }
    const done = this.hub.rooms.leave(seat, left);
    done.catch(() => {});
    return done;
  }

  override broadcast(packet: any, options: BroadcastOptions): void {
    this.notifyOutgoing(packet, options);
    this.hub.outbox.settle(); // an admission puts its socket into rooms first
    const to = address(this.hub, this.token, "emit", options);
    if (!to) {
      return;
    }
    const { flags } = options;
    if (flags?.local) {
      to.headers.push([Header.ownedBy, this.hub.instance.name]);
    }
    if (flags?.volatile) {
      to.headers.push([Header.volatile, "true"]);
    }
    if (flags?.compress === false) {
      to.headers.push([Header.compress, "false"]);
    }
    const body = encode(packet.data, to.headers);
    this.hub.send(to.subject, body, to.headers); // never with a reply: a stream that records it would answer there
  }

  override broadcastWithAck(
    packet: any,
    options: any,
    count: (clients: number) => void,
    ack: (...args: any[]) => void,
  ): void {
    this.notifyOutgoing(packet, options);
    askMany(this, packet, options, count, ack);
  }

  /** notifyOutgoing calls the listeners to what is sent of the sockets that this instance owns. */
  notifyOutgoing(packet: Packet, options: any): void {
    if (this.listensOutgoing || this.hub.engine.listensPackets) {
      (this as any).apply(options, (socket: any) => {
        socket.notifyOutgoingListeners(packet);
        socket.conn.created(packet, options.flags ?? {});
      });
    }
  }

  override async sockets(rooms: Set<any>): Promise<Set<string>> {
    const all = await this.fetchSockets({ rooms, except: new Set() });
    return new Set(all.map((socket: any) => socket.id));
  }

  override async fetchSockets(options: any): Promise<any[]> {
    return options.flags?.local ? super.fetchSockets(options) : fetchSockets(this, options);
  }

  override addSockets(options: any, rooms: any[]): void {
    const names = rooms.map(String);
    (this as any).apply(options, (socket: any) => this.mirror(socket.id, names, []));
    const wire = names.map(roomOnWire);
    void moveMany(this, "join", options, wire, wire);
  }

  override delSockets(options: any, rooms: any[]): void {
    const names = rooms.map(String);
    const members: any[] = [];
    (this as any).apply(options, (socket: any) => members.push(socket));
    members.forEach((socket) => this.mirror(socket.id, [], names));
    void moveMany(this, "leave", options, names.map(roomOnWire));
  }

  /** setGrant changes what the sockets of a target are and may do, and returns how many they are. */
  setGrant(options: BroadcastOptions, grant: Grant): Promise<number> {
    const given = grantOnWire(grant);
    return moveMany(this, "grant", options, [given], given.rooms);
  }

  override disconnectSockets(options: any, close: boolean): void {
    const members: any[] = [];
    (this as any).apply(options, (socket: any) => members.push(socket));
    if (!options.flags?.local) {
      void moveMany(this, "disconnect", options, [close]);
    }
    members.forEach((socket) => socket.disconnect(close));
  }

  override serverSideEmit(packet: any[]): void {
    this.hub.services.emit(this, packet);
  }

  override async serverCount(): Promise<number> {
    return 1 + this.hub.instance.peers.names.length;
  }

  override close(): void {
    this.hub.services.close(this.nsp.name);
  }
}
