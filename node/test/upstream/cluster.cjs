// What the tests of cluster adapters import as "socket.io": Servers that share a prefix. Each owns the sockets of its own
// edge, as if its clients had reached it directly, and keeps its own adapter.
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

/** nextTest has the Servers of the next test share a prefix. */
function nextTest() {
  OneServer.prefix = newPrefix();
  servers.length = 0;
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
