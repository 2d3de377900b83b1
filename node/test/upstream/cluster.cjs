// What the tests of cluster adapters import as "socket.io": Servers that share a prefix. Each owns the sockets of its own
// edge, as if its clients had reached it directly, and keeps its own adapter.
const { newPrefix } = require("./edges.cjs");
const { Server: OneServer } = require("./server.cjs");

class Server extends OneServer {
  constructor(...given) {
    super(...given);
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

  adapter(value) {
    return value ? this : super.adapter();
  }
}

/** nextTest has the Servers of the next test share a prefix. */
function nextTest() {
  OneServer.prefix = newPrefix();
}

module.exports = { Server, nextTest };
