/** Questions and commands to the sockets of many: broadcast acks, fetchSockets, socketsJoin and the like. */
import type { Msg } from "@nats-io/transport-node";
import type { EdgeAdapter } from "./adapter";
import { AnswerError } from "./errors";
import { roomFromWire, roomTail } from "./names";
import { answerError, gather, isLastPart, patience } from "./questions";
import { address } from "./target";
import type { BroadcastOptions } from "./target";
import { decode, encode, header, Header } from "./wire";
import type { Packet } from "./wire";

/** The bounds of Sio-Timeout, in milliseconds. */
const maxTimeout = 600_000;

/**
 * askMany broadcasts an event whose acks come back. count is called once for each instance of the group: with the
 * number of all clients that edges have asked, and with 0 for the others, as socket.io counts servers.
 */
export function askMany(
  adapter: EdgeAdapter,
  packet: Packet,
  options: BroadcastOptions,
  count: (clients: number) => void,
  ack: (...args: any[]) => void,
): void {
  const { hub } = adapter;
  hub.outbox.settle();
  const to = address(hub, adapter.token, "ask", options)!;
  if (options.flags?.local) {
    to.headers.push([Header.ownedBy, hub.instance.name]);
  }
  if (options.flags?.volatile) {
    to.headers.push([Header.volatile, "true"]);
  }
  const timeout = Math.min(Math.max(Math.ceil(options.flags?.timeout ?? 1), 1), maxTimeout);
  to.headers.push([Header.timeout, String(timeout)]);
  const body = encode(packet.data, to.headers);
  let clients = 0;
  let acks = 0;
  let counted = false;
  const finish = () => {
    if (counted) {
      return;
    }
    counted = true;
    void adapter.serverCount().then((servers) => {
      count(clients);
      for (let i = 1; i < servers; i++) {
        count(0);
      }
    });
  };
  const { edges } = hub.instance;
  const take = (m: Msg) => {
    if (header(m, Header.socket)) {
      acks++;
      if (!answerError(m)) {
        process.nextTick(ack, ...decode(m)); // the program's callback may throw
      }
      return undefined;
    }
    const expect = header(m, Header.expect);
    if (expect === "") {
      return undefined; // an error of an edge
    }
    clients += Number(expect);
    return decode(m)[0].edge as string;
  };
  const isComplete = () => counted && acks >= clients;
  askAll(adapter, { ...to, body }, { edges: edges.names, timeout, take, counted: finish, isComplete });
}

interface Asking {
  edges: string[];
  /** In milliseconds. */
  timeout: number;
  /** take gets each answer. It returns the edge that has told how many it asks, else undefined. */
  take(m: Msg): string | undefined;
  /** counted is called once all edges have told how many they ask. */
  counted(): void;
  /** isComplete reports whether no further ack is expected. */
  isComplete(): boolean;
}

/** askAll publishes a question, and takes acks until all have come, or the time is over. */
function askAll(
  adapter: EdgeAdapter,
  question: { subject: string; body: string | Uint8Array; headers: any; reply?: string },
  { edges, timeout, take, counted, isComplete }: Asking,
): void {
  const { hub } = adapter;
  const waiting = new Set(edges);
  const look = () => {
    edges.filter((edge) => !hub.instance.edges.has(edge)).forEach((edge) => waiting.delete(edge));
    if (waiting.size === 0) {
      counted();
    }
  };
  const inbox = hub.link.expect((m) => {
    waiting.delete(take(m) ?? "");
    look();
    isComplete() && end();
  });
  const stopWatching = hub.instance.edges.onChange(look);
  const end = () => {
    clearTimeout(limit);
    inbox.forget();
    stopWatching();
    adapter.ackRequests.delete(inbox);
  };
  const limit = setTimeout(end, timeout + 1000).unref();
  adapter.ackRequests.add(inbox);
  if (!hub.send(question.subject, question.body, question.headers, inbox.reply)) {
    end();
  } else if (edges.length === 0) {
    setTimeout(counted, Math.min(timeout / 2, 250)); // no edge is known
  }
}

/** fetchSockets asks all edges. Sockets that this instance owns are given as the Socket itself. */
export async function fetchSockets(adapter: EdgeAdapter, options: BroadcastOptions): Promise<any[]> {
  const { hub } = adapter;
  hub.outbox.settle();
  hub.data.flush();
  const to = address(hub, adapter.token, "fetch", options);
  if (!to) {
    return [];
  }
  const found: any[] = [];
  const edges = hub.instance.edges;
  adapter.requests.add(found);
  const silent = await gather(
    hub.link,
    hub.outbox,
    { ...to, body: "" },
    {
      members: to.edge ? [to.edge] : edges.names,
      among: edges,
      atMost: options.flags?.timeout ?? patience,
      take: (m) => {
        const error = answerError(m);
        if (error) {
          if (error.message.endsWith("unknown socket")) {
            return to.edge;
          }
          throw error;
        }
        const [about, ...sockets] = decode(m);
        found.push(...sockets.map((socket) => described(adapter, socket)));
        return isLastPart(m) ? (to.edge ?? about.edge) : undefined; // a socket may be at another edge than its id says
      },
    },
  ).finally(() => adapter.requests.delete(found));
  if (silent.length > 0 && !to.edge) {
    throw new AnswerError(`timeout reached: ${silent.length} edges have not answered (${silent.join(", ")})`);
  }
  return found;
}

/** described is what socket.io makes a RemoteSocket of, or the Socket. */
function described(adapter: EdgeAdapter, socket: any): any {
  const local = adapter.nsp.sockets.get(socket.id);
  if (local) {
    return local;
  }
  const { sid: _sid, session: _session, transport: _transport, ...handshake } = socket.handshake;
  return { id: socket.id, handshake, rooms: [socket.id, ...socket.rooms.map(roomFromWire)], data: socket.data };
}

/**
 * moveMany sends a command for the sockets of a target, and returns how many they are. Until all edges have answered,
 * the rooms into which it puts them, as on the wire, are unconfirmed. A failure is logged; the caller need not handle it.
 */
export function moveMany(
  adapter: EdgeAdapter,
  verb: "join" | "leave" | "disconnect" | "grant",
  options: BroadcastOptions,
  body: unknown[],
  rooms?: string[] | null,
): Promise<number> {
  const { hub } = adapter;
  hub.outbox.settle();
  const to = address(hub, adapter.token, verb, options);
  if (!to) {
    return Promise.resolve(0);
  }
  if (options.flags?.local) {
    to.headers.push([Header.ownedBy, hub.instance.name]);
  }
  const confirmation = rooms?.length ? hub.unconfirmed.begin(adapter.token, rooms.map(roomTail), "") : undefined;
  const edges = hub.instance.edges;
  const answered: string[] = [];
  let total = 0;
  const done = gather(
    hub.link,
    hub.outbox,
    { ...to, body: JSON.stringify(body) },
    {
      members: to.edge ? [to.edge] : edges.names,
      among: edges,
      atMost: patience,
      take: (m) => {
        const error = answerError(m);
        if (error) {
          throw error;
        }
        const { edge, sockets } = decode(m)[0];
        if (sockets > 0) {
          answered.push(edge);
          total += sockets;
        }
        return to.edge ?? edge;
      },
    },
  )
    .then((unheard) => {
      const silent = unheard.filter((edge) => edges.has(edge)); // the sockets of the others have gone
      if (silent.length > 0) {
        throw new AnswerError(`${silent.length} edges have not answered (${silent.join(", ")})`);
      }
      return total;
    })
    .catch((error) => {
      if (error.message.endsWith("unknown socket")) {
        return 0;
      }
      hub.log.warn(`a ${verb} of many sockets failed`, error.message);
      throw error;
    })
    .finally(() => confirmation && hub.unconfirmed.finish(confirmation, answered));
  done.catch(() => {}); // logged
  return done;
}
