// The core of a chat with the NATS client only. docs/subjects.md explains the subjects.
import { connect, headers } from "@nats-io/transport-node";

const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222", maxReconnectAttempts: -1 });
const ns = "sio.chat_room"; // the namespace /chat_room
const json = JSON.stringify;
const isName = (name) => typeof name === "string" && /^[\p{L}\p{N}_-]{1,24}$/u.test(name); // as a room, one token of a subject

// on handles an event of clients. One of all copies of this program gets it: they are a queue group.
const on = (event, handle) => nc.subscribe(`${ns}.on.${event}`, {
  queue: "chat",
  callback: (err, m) => Promise.resolve(err ?? handle(m, ...m.json().slice(1))).catch((e) => console.error(event, e)),
});

// The reply subject of an event names its sender, with or without an ack's number behind it; a header names its user.
const socketOf = (m) => /\.(?:ack|emit\.socket)\.(\w+\.[\w-]+)/.exec(m.reply)[1];
const userOf = (m) => m.headers.get("Sio-User");
const ack = (m, answer) => m.reply.includes(".ack.") && m.respond(json([answer]));

// ask sends a request to the one edge that has a socket.
const ask = async (verb, id, body = "") => (await nc.request(`${ns}.${verb}.socket.${id}`, body, { timeout: 3000 })).json();

// fetch asks all edges who is in a room, or in the namespace. It ends when no answer has come for some time.
async function fetch(target) {
  const sockets = [];
  for await (const m of await nc.requestMany(`${ns}.fetch.${target}`, "", { strategy: "stall", stall: 150, maxWait: 2000 })) {
    sockets.push(...m.json().slice(1)); // after the first element, which is about the edge
  }
  return sockets;
}

on("connect", async (m, { auth }) => {
  const refusal = headers();
  if (!isName(auth.name)) refusal.set("Sio-Error", "a name has 1 to 24 letters and digits");
  else if ((await fetch("all")).some(({ user }) => user === auth.name)) refusal.set("Sio-Error", "somebody else has this name");
  else return m.respond(json([{ user: auth.name }]));
  m.respond("[]", { headers: refusal });
});

on("join", async (m, room) => {
  if (!isName(room)) return ack(m, { error: "a room has 1 to 24 letters and digits" });
  await ask("join", socketOf(m), json([room])); // now messages to the room reach the socket
  nc.publish(`${ns}.broadcast.room.${room}`, json(["joined", room, userOf(m)]), { reply: m.reply });
  ack(m, { people: (await fetch(`room.${room}`)).map(({ user }) => user) });
});

on("message", async (m, room, text) => {
  const [, rooms] = await ask("rooms", socketOf(m));
  if (!Object.hasOwn(rooms, room)) return ack(m, { error: "you are not in this room" });
  nc.publish(`${ns}.broadcast.room.${room}`, json(["message", room, userOf(m), text]), { reply: m.reply }); // to the others
  ack(m, { at: Date.now() });
});

on("direct", async (m, name, text) => {
  const to = (await fetch("all")).find(({ user }) => user === name);
  const seen = to && await ask("ask", to.id, json(["direct", userOf(m), text])).catch(() => null); // the receiver's ack
  ack(m, seen ? { seen: seen[0] } : { error: `it did not reach ${name}` });
});

await nc.flush();
process.on("SIGTERM", () => nc.drain()); // handle what has arrived, and end
console.log("ready");
