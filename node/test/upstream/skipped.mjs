// The cases of the reference's own tests that are not played, and why: by title, as mocha writes it.

/** Files that are not loaded. */
export const files = {
  "uws.ts": "it tests uWebSockets.js, an HTTP server in place of Node's: clients connect to the edge",
};

/** packages/socket.io/test. */
export const server = {};

/** packages/socket.io-adapter/test/cluster-adapter.ts. */
export const adapter = {};
