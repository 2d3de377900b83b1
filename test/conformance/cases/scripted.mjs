// What cases about the server's side have in common. They are scripts for the server's interface: what a case calls on
// `ann.io` or `ann.own`, the application of scripted.mjs or scripted/ calls on its server, in a handler of ann's socket.

const patience = 5_000; // milliseconds until a call has failed
const calls = new Set([
  'emit', 'emitWithAck', 'join', 'leave', 'disconnect', 'rooms', 'data', 'setData',
  'socketsJoin', 'socketsLeave', 'disconnectSockets', 'fetchSockets', 'serverSideEmit', 'serverSideEmitWithAck',
]);
const getters = new Set(['volatile', 'broadcast']);

// recorder writes a call of the server's interface down, with all that comes before it, and gives it to take.
function recorder(of, take, steps = []) {
  return new Proxy({}, {
    get(_, method) {
      if (calls.has(method)) {
        return (...values) => take({ of, steps, call: [method, ...values] });
      }
      if (getters.has(method)) {
        return recorder(of, take, [...steps, [method]]);
      }
      return (...values) => recorder(of, take, [...steps, [method, ...values.flat()]]);
    },
  });
}

// later are calls for the handlers that an auth describes (`greet`, `goodbye`): later.io.to('room').emit('name').
export const later = { io: recorder('io', (plan) => plan), own: recorder('socket', (plan) => plan) };

// Cast is a case's clients in a namespace of its own.
class Cast {
  #stage;

  constructor(stage, mode, namespace) {
    this.#stage = stage;
    this.namespace = namespace ?? `/${mode}-${stage.tag}`;
  }

  // client starts a client. What it says is noted for its name; `ready` is the last word of the connection handler.
  client(name, auth = {}, options = {}) {
    const socket = this.#stage.client(name, options.namespace ?? this.namespace, { ...options, auth: { name, ...auth } });
    return this.member(name, socket);
  }

  // member is what a case needs of a client's socket.
  member(name, socket) {
    let before = Promise.resolve(); // results are noted in the order of the calls
    const ask = async (label, event, value) => {
      const result = socket.timeout(patience).emitWithAck(event, value).catch((error) => error.message);
      before = before.then(async () => this.#stage.note(`calls ${name}`, `${label}: ${await result}`));
      await before;
    };
    const take = (plan) => ask(plan.call[0], 'do', plan);
    return {
      name, socket, io: recorder('io', take), own: recorder('socket', take),
      get id() { return socket.id; },
      // run runs a function's text on the server (code.mjs).
      run: (code) => ask('run', 'run', code.toString()),
      listen: (...steps) => socket.timeout(patience).emitWithAck('listen', steps),
      ready: () => this.#stage.until(name, '["ready"'),
      // answers makes the client ack an event.
      answers: (event, ...values) => socket.on(event, (...given) => given.at(-1)(...values)),
    };
  }

  // ready starts clients and waits until all are ready, those before others that are named before.
  async ready(...names) {
    const members = names.map((name) => this.client(name));
    await Promise.all(members.map((one) => one.ready()));
    return members;
  }
}

const modes = ['owned', 'stateless'];

// players are the applications that play a case, by its mode. Two servers have owned sockets only, each about half.
const players = { owned: ['services', 'node', 'pair'], stateless: ['services', 'node'] };

// oneServer is for cases in which two servers would see what nothing orders.
export const oneServer = { applications: ['services', 'node'] };

// scripted makes a case for each way in which a service handles events.
export const scripted = (group, name, play, { only = modes, ...more } = {}) => [only].flat().map((mode) => ({
  name: `${group}: ${name}, ${mode}`, server: 'calm', serverSide: true, applications: players[mode], ...more,
  play: (s) => play(s, new Cast(s, mode), mode),
}));
