// The cases of the reference's own tests that are not played, and why: by title, as mocha writes it. A case whose
// reason begins with "sometimes" may pass when it is played with --all. Any other that passes is an error.

/** Files that are not loaded. */
export const files = {
  "uws.ts": "it tests uWebSockets.js, an HTTP server in place of Node's: clients connect to the edge",
};

const path = "the edge answers at its path, and at none below it";
const decoded =
  "the edge decodes packets: a client that sends what is none is disconnected, and no `error` is emitted";
const v2 = "clients of protocol version 3 cannot connect to an edge";
const volatile =
  "the edge may send several volatile events of one moment in one batch: more arrive than of the reference";
const sometimes = `sometimes: ${volatile}`;

/** packages/socket.io/test. */
export const server = {
  "close protocol violations should close the connection when receiving an invalid packet":
    "sometimes: the packet may end the session before the Server has admitted its socket, so there is one poll less",
  "handshake should send the Access-Control-Allow-xxx headers on OPTIONS request": path,
  "handshake should send the Access-Control-Allow-xxx headers on GET request": path,
  "handshake should allow request if custom function in opts.allowRequest returns true": path,
  "handshake should disallow request if custom function in opts.allowRequest returns false": `${path}; what allowRequest refuses is a connect_error`,
  "server attachment http.Server should serve client (br)": "the edge compresses with gzip only",
  "server attachment http.Server should not serve static files": "the edge always serves the client",
  "server attachment http.Server should work with #attach (and merge options)":
    "its options, and `server.eio`, are the edge's",
  "server attachment static files should not serve unknown files from the Socket.IO path":
    "the edge answers 404, not 400",
  "messaging many should precompute the WebSocket frame when broadcasting": "frames are made by the edge",
  "socket should not crash with raw binary": decoded,
  "socket should handle empty binary packet": decoded,
  "socket should ignore a packet received after disconnection":
    "an event that the client has sent before it disconnects is handled",
  "v2 compatibility should connect if `allowEIO3` is true": v2,
  "v2 compatibility should be able to connect to a namespace with a query": v2,
  "namespaces should not emit volatile event after regular event": sometimes,
  "socket should not emit volatile event after regular event (ws)": sometimes,
  "socket should emit only one consecutive volatile event (ws)": sometimes,
  "socket should emit only one consecutive volatile event with binary (ws)": sometimes,
  "socket should broadcast only one consecutive volatile event with binary (ws)": sometimes,
  "socket should emit regular events after trying a failed volatile event (ws)": sometimes,
};

const atOnce =
  "it expects another instance's `socket.rooms` to change at once; here they change when NATS has delivered the command";

/** packages/socket.io-adapter/test/cluster-adapter.ts. */
export const adapter = {
  "cluster adapter socketsJoin makes all socket instances join the specified room": atOnce,
  "cluster adapter socketsJoin makes the matching socket instances join the specified room": atOnce,
  "cluster adapter socketsJoin makes the given socket instance join the specified room": atOnce,
  "cluster adapter socketsLeave makes all socket instances leave the specified room": atOnce,
  "cluster adapter socketsLeave makes the matching socket instances leave the specified room": atOnce,
  "cluster adapter socketsLeave makes the given socket instance leave the specified room": atOnce,
};
