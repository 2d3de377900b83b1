// The same server with the types of its events: `npm run typed`.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "partyline"; // was: "socket.io"

interface Line {
  id: string;
  name: string;
  text: string;
}

interface ClientToServerEvents {
  join: (name: string, callback: (id: string) => void) => void;
  message: (text: string, callback: (answer: { at: number }) => void) => void;
  typing: () => void;
  direct: (socketId: string, text: string) => void;
  leave: () => void;
}

interface ServerToClientEvents {
  joined: (name: string) => void;
  message: (line: Line) => void;
  typing: (name: string) => void;
  direct: (line: Line) => void;
  left: (name: string) => void;
}

interface SocketData {
  name: string;
}

const files = new Map([["/", "text/html"], ["/chat.js", "text/javascript"]]);

const server = createServer(async (req, res) => {
  const path = req.url ?? "/";
  const type = files.get(path);
  if (!type) {
    return res.writeHead(404).end();
  }
  res.setHeader("Content-Type", type).end(await readFile(`public${path === "/" ? "/index.html" : path}`));
});
const io = new Server<ClientToServerEvents, ServerToClientEvents, {}, SocketData>(server, { nats: process.env.NATS_URL });

const newRoom = io.of("/chat_room");

newRoom.on("connection", (socket) => {
  const line = (text: string): Line => ({ id: socket.id, name: socket.data.name, text });

  socket.on("join", (name, callback) => {
    socket.data.name = name;
    socket.join("room");
    socket.broadcast.emit("joined", name);
    callback(socket.id);
  });
  socket.on("message", (text, callback) => {
    newRoom.to("room").emit("message", line(text));
    callback({ at: Date.now() });
  });
  socket.on("typing", () => socket.broadcast.emit("typing", socket.data.name));
  socket.on("direct", (socketId, text) => newRoom.to(socketId).emit("direct", line(text)));
  socket.on("leave", () => {
    socket.leave("room");
    newRoom.to("room").emit("left", socket.data.name);
  });
  socket.on("disconnecting", () => {
    if (socket.rooms.has("room")) {
      socket.to("room").emit("left", socket.data.name);
    }
  });
});

server.listen(process.env.PORT ?? 3010, () => {
  console.log(`ready at http://localhost:${(server.address() as AddressInfo).port}`);
});
