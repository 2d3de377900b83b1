// A program as people write it: express, a page, and io() at its own address. It reads where NATS and the edge are from
// the environment, and prints where it listens.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const express = require("express");
const { Server } = require("../../dist/index.js");

const app = express();
app.get("/", (req, res) => res.send('<script src="/socket.io/socket.io.js"></script>'));
const server = createServer(app);
const io = new Server(server);
io.on("connection", (socket) => socket.on("echo", (value, ack) => ack(value)));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ ...server.address(), nats: process.env.NATS_URL })));
if (process.argv[2] === "fail") {
  process.exit(7);
}
