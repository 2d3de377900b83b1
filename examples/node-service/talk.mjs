// A client for the terminal: node talk.mjs NAME [ROOM]. Each line goes to the room; "@bob hello" goes to Bob alone.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [name = "somebody", room = "lobby"] = process.argv.slice(2);
const socket = io(`${process.env.EDGE_URL ?? "http://localhost:3000"}/chat_room`, { auth: { name } });

socket.on("connect", async () => {
  let people, error;
  try {
    ({ people, error } = await socket.timeout(5000).emitWithAck("join", room));
  } catch {
    return console.log("No answer. The service may be away."); // or the connection was lost, and "connect" comes again
  }
  console.log(error ?? `You are ${name} in ${room}, with ${people.filter((who) => who !== name).join(", ") || "nobody"}.`);
});
socket.on("connect_error", ({ message }) => {
  console.log(message);
  if (!socket.active) process.exit(1); // refused
});
socket.on("joined", (where, who) => console.log(`${who} has joined ${where}.`));
socket.on("message", (where, who, text) => console.log(`${who}: ${text}`));
socket.on("direct", (who, text, ack) => {
  console.log(`${who}, to you alone: ${text}`);
  ack("seen");
});

createInterface({ input: process.stdin }).on("line", async (text) => {
  const [, to, message] = /^@(\S+) (.*)/.exec(text) ?? [];
  try {
    const { error } = await socket.timeout(5000).emitWithAck(...(to ? ["direct", to, message] : ["message", room, text]));
    if (error) console.log(error);
  } catch {
    console.log("No answer. The service may be away.");
  }
}).on("close", () => socket.disconnect());
