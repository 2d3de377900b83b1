// What the tests of cluster adapters import as "socket.io": Servers that share a prefix. Each owns the sockets of
// its own edge, as if its clients had reached it directly, and keeps its own adapter. They share a connection to
// NATS as well: the tests rely on the order of what the Servers do in their one process.
const { connect } = require("../../node_modules/@nats-io/transport-node");
const { newPrefix } = require("./edges.cjs");
const { Server: OneServer } = require("./server.cjs");

/** The Servers of this test. */
const servers = [];

class Server extends OneServer {
  constructor(...given) {
    super(...given);
    this.keepsAdapter = true;
    servers.push(this);
    const { admissions, instance } = this.of("/").adapter.hub;
    const request = admissions.request.bind(admissions);
    admissions.request = (m, token, id) => {
      const isOwn = id.startsWith(`${this.edgeName}.`);
      if (isOwn) {
        return request(m, token, id);
      }
      instance.mayOwn = () => false; // the edge asks another one
      try {
        return request(m, token, id);
      } finally {
        delete instance.mayOwn;
      }
    };
  }

  adapter(...given) {
    return this.keepsAdapter && given.length > 0 ? this : super.adapter(...given);
  }
}

/** nextTest closes the Servers of the last test, and has those of the next one share a prefix. */
async function nextTest() {
  servers.splice(0).forEach((server) => server.close());
  OneServer.shared = {
    nats: OneServer.shared?.nats ?? (await connect({ servers: process.env.UPSTREAM_NATS })),
    prefix: newPrefix(),
  };
}

/**
 * admitted waits until all sockets are admitted. The tests begin when a handler of the last one runs, and have another
 * Server send at once. Between two publishers NATS keeps no order, so that may get to the edge before the admission.
 */
async function admitted() {
  while ((await servers[0].fetchSockets()).length < servers.length) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

module.exports = { Server, nextTest, admitted };
