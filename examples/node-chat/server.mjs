import { createServer } from "node:http";
import express from "express";
import { Server } from "partyline"; // was: "socket.io"

const app = express();
const server = createServer(app);
const io = new Server(server, { nats: process.env.NATS_URL }); // was: new Server(server)

app.use(express.static("public"));

const newRoom = io.of("/chat_room");

newRoom.on("connection", (socket) => {
  socket.on("join", (name, callback) => {
    socket.data.name = name;
    socket.join("room");
    socket.broadcast.emit("joined", name);
    callback(socket.id);
  });

  socket.on("message", (text, callback) => {
    newRoom.to("room").emit("message", { id: socket.id, name: socket.data.name, text });
    callback({ at: Date.now() });
  });

  socket.on("typing", () => {
    socket.broadcast.emit("typing", socket.data.name);
  });

  socket.on("direct", (socketId, text) => {
    newRoom.to(socketId).emit("direct", { id: socket.id, name: socket.data.name, text });
  });

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
  console.log(`ready at http://localhost:${server.address().port}`);
});
