// The test page: a chat over the open namespaces of the development mode, which shows the NATS subject of each
// message.
//
// There the edge needs no service: it answers `join` and `leave` with a room itself. `message` goes to the others in
// the sender's room, or to all others if it is in none; `everyone` to all others; `direct` to the socket that its
// first argument names. These three are also published for services, on `on.<event>`.

import { Subjects, all, room as roomTarget, socket as socketTarget, body, natsLine, isSocketId } from './contract.js';
import { addMessage, addNotice, copy, element, line } from './log.js';

const answerTimeout = 8000; // milliseconds that the edge has to answer join or leave

const { prefix, path, nats: server } = document.body.dataset;
const at = (id) => document.getElementById(id);

let socket = null; // in the current namespace
let namespace = '';
let subjects = null; // of that namespace
let joined = null; // the room this socket is in
let wanted = null; // the room to join, also after a reconnect
let doing = Promise.resolve(); // room changes and messages run one after the other, so that a message's subject is certain

// --- Connection ----------------------------------------------------------------------------------------------------

function connect(name) {
  if (typeof io === 'undefined') {
    throw new Error(`There is no Socket.IO client at ${path}: run “make client” in the source tree and build again.`);
  }
  const next = new Subjects(prefix, name); // throws for a name that has no subject
  socket?.disconnect();
  namespace = name;
  subjects = next;
  joined = null;
  const mine = io(name, { path, forceNew: true });
  socket = mine;
  const whileMine = (handler) => (...values) => { if (socket === mine) handler(...values); };

  mine.on('connect', whileMine(onConnect));
  mine.on('disconnect', whileMine(onDisconnect));
  mine.on('connect_error', whileMine(onConnectError));
  mine.onAny(whileMine(onEvent));
  mine.io.on('reconnect_attempt', whileMine((attempt) => showState('connecting', `attempt ${attempt}`)));
  mine.io.on('open', whileMine(() => {
    const { engine } = mine.io;
    showTransport(engine.transport.name);
    engine.on('upgrade', whileMine((transport) => showTransport(transport.name)));
  }));
  showState('connecting');
  showPlace();
}

function onConnect() {
  showState('connected');
  at('socket-id').textContent = socket.id;
  at('copy-socket-id').disabled = false;
  addNotice(`Connected to ${namespace} as ${socket.id}`, { term: 'services heard', subject: `${subjects.base}.on.connect`, prefix });
  showPlace();
  if (wanted !== null) {
    inOrder(() => enter(wanted));
  }
}

function onDisconnect(reason) {
  joined = null;
  showState('disconnected', reason); // reconnect_attempt follows, unless it is final
  showTransport('');
  at('socket-id').textContent = '–';
  at('copy-socket-id').disabled = true;
  addNotice(`Disconnected: ${reason}`, { term: 'services heard', subject: `${subjects.base}.on.disconnect`, prefix });
  showPlace();
}

// onConnectError shows a failed connection, which the client repeats, or a refusal, which it does not.
function onConnectError(error) {
  if (socket.active) {
    showState('connecting', error.message);
    return;
  }
  showState('disconnected', error.message);
  showTransport('');
  problem(`The edge refused the connection to ${namespace}: ${error.message}`);
}

function showState(state, reason = '') {
  at('state').textContent = state;
  at('state').dataset.state = state;
  at('reason').textContent = reason;
  at('reconnect').hidden = state !== 'disconnected' || socket === null || socket.active;
}

function showTransport(name) {
  at('transport').textContent = name;
  at('transport').hidden = name === '';
}

// --- Rooms ---------------------------------------------------------------------------------------------------------

// inOrder runs a task after all earlier ones, and shows what it throws.
function inOrder(task) {
  doing = doing.then(task).then(() => true, (error) => { problem(error.message); return false; });
  return doing;
}

// ask emits join or leave and returns the edge's answer: {ok: true} or {error}.
async function ask(event, name) {
  let answer;
  try {
    answer = await socket.timeout(answerTimeout).emitWithAck(event, name);
  } catch {
    throw new Error(`No answer to ${event} “${name}”.`);
  }
  if (answer?.ok !== true) {
    throw new Error(`The edge refused to ${event} “${name}”: ${answer?.error ?? JSON.stringify(answer)}`);
  }
}

// enter joins a room and only then leaves the previous one, so that after a refusal the socket stays there.
async function enter(name) {
  if (name === joined) {
    return;
  }
  roomTarget(name); // throws for a name that has no subject
  const before = joined;
  const mine = socket;
  wanted = name;
  try {
    await ask('join', name);
  } catch (error) {
    if (socket === mine && socket.connected) {
      wanted = before; // refused; if the connection was lost, the next one tries again
    }
    throw error;
  }
  if (socket !== mine || !socket.connected) {
    return; // there is another connection with its own rooms
  }
  if (before !== null) {
    try {
      await exit();
    } finally {
      if (socket === mine) {
        wanted = name;
      }
    }
    if (socket !== mine || !socket.connected) {
      return;
    }
  }
  joined = name;
  addNotice(`Joined room “${name}”`, {
    term: 'the edge subscribes', subject: subjects.to('*', roomTarget(name)), prefix,
    command: natsLine('req', subjects.to('join', socketTarget(socket.id)), JSON.stringify([name]), { server }),
  });
  showPlace();
}

async function exit() {
  const name = joined;
  wanted = null;
  if (name === null) {
    showPlace();
    return;
  }
  await ask('leave', name);
  joined = null;
  addNotice(`Left room “${name}”`, {
    command: natsLine('req', subjects.to('leave', socketTarget(socket.id)), JSON.stringify([name]), { server }),
  });
  showPlace();
}

// --- Messages out --------------------------------------------------------------------------------------------------

// planned returns what sending a text does: the event and its arguments, its subject, and a description.
function planned(kind, text) {
  const me = { from: socket.id, name: myName() };
  if (kind === 'direct') {
    const target = at('target').value.trim();
    if (!isSocketId(target)) {
      throw new Error('To send to one socket, give its id: click the name of someone who spoke, or copy it from the other tab.');
    }
    return { event: 'direct', values: [target, text, { ...me, to: 'socket' }], subject: subjects.to('emit', socketTarget(target)), where: `to ${target}`, reply: '' };
  }
  const reply = subjects.address(socket.id); // names the socket that broadcast excludes
  if (kind === 'all') {
    return { event: 'everyone', values: [text, { ...me, to: 'all' }], subject: subjects.to('broadcast', all), where: 'to all', reply };
  }
  if (joined === null) {
    return { event: 'message', values: [text, { ...me, to: 'all' }], subject: subjects.to('broadcast', all), where: 'to all (you are in no room)', reply };
  }
  return { event: 'message', values: [text, { ...me, to: 'room', room: joined }], subject: subjects.to('broadcast', roomTarget(joined)), where: `to room “${joined}”`, reply };
}

async function send(kind) {
  const text = at('text').value;
  at('text').focus();
  if (text.trim() === '') {
    problem('Type a message first.');
    return;
  }
  at('text').value = '';
  const sent = await inOrder(() => {
    if (!socket?.connected) {
      throw new Error('Not connected, so nothing was sent.');
    }
    const { event, values, subject, where, reply } = planned(kind, text);
    socket.emit(event, ...values);
    problem('');
    const said = body(event, ...values);
    addMessage({
      direction: 'out', event, body: said, who: `${myName()} (you)`, from: socket.id, where, text,
      subject, subjects: [subjects.on(event), subject], prefix,
      wire: [['for services', [subjects.on(event)]], ['relayed on', [subject]]],
      command: natsLine('pub', subject, said, { reply, server }),
    });
  });
  if (!sent && at('text').value === '') {
    at('text').value = text;
  }
}

// --- Messages in ---------------------------------------------------------------------------------------------------

// onEvent shows any event. Its subject is known only if the sender adds its name and target, as this page does.
function onEvent(event, ...values) {
  const ack = typeof values.at(-1) === 'function' ? values.pop() : null;
  let attachments = 0;
  const said = JSON.stringify([event, ...values], (key, value) =>
    value instanceof ArrayBuffer ? { _placeholder: true, num: attachments++ } : value);
  const told = toldBy(event, values);
  const known = told !== null && ack === null && attachments === 0;
  const heard = known ? [told.subject] : heardBy(ack !== null);
  const first = event === 'direct' && values[0] === socket.id ? values[1] : values[0];
  const text = typeof first === 'string' ? first : JSON.stringify(JSON.parse(said).slice(1)); // attachments as placeholders
  const again = known ? told.subject : subjects.to(ack ? 'ask' : 'emit', ack ? socketTarget(socket.id) : joined === null ? all : roomTarget(joined));

  let note = '';
  if (attachments > 0) {
    note = `It carried ${attachments} binary attachment(s): on NATS they follow the body, and a Sio-Attachments header gives their lengths.`;
  } else if (ack) {
    note = 'It asked for an ack, and this page answered ["ok"].';
  } else if (!known) {
    note = 'It does not say who sent it, or to whom. The edge listens on these subjects for you, and it came by one of them.';
  }
  addMessage({
    direction: 'in', event: String(event), body: said, who: known ? told.name : 'someone', from: known ? told.from : '',
    where: known ? told.where : event === 'message' ? '' : `event “${event}”`, text,
    subject: heard[0], subjects: heard, prefix,
    wire: known
      ? [['came on', heard, 'As its last argument says, which the sender’s page added']]
      : [[heard.length > 1 ? 'heard on one of' : 'heard on', heard, 'The subscriptions by which it may have come']],
    command: attachments > 0 ? '' : natsLine(ack ? 'req' : 'pub', again, said, { reply: told?.reply ?? '', server }),
    note, choose: chooseTarget,
  });
  ack?.('ok');
}

// toldBy returns what this page's senders add as last argument, or null if it is missing.
function toldBy(event, values) {
  const told = values.at(-1);
  if (told === null || typeof told !== 'object' || !isSocketId(told.from) || typeof told.name !== 'string') {
    return null;
  }
  const name = told.name.slice(0, 40) || 'someone';
  const speaker = { name, from: told.from, reply: subjects.address(told.from) };
  if (event === 'direct' && told.to === 'socket') {
    return { ...speaker, reply: '', subject: subjects.address(socket.id), where: 'to you alone' };
  }
  if ((event === 'message' || event === 'everyone') && told.to === 'all') {
    return { ...speaker, subject: subjects.to('broadcast', all), where: 'to all' };
  }
  if (event === 'message' && told.to === 'room' && typeof told.room === 'string') {
    try {
      return { ...speaker, subject: subjects.to('broadcast', roomTarget(told.room)), where: `to room “${told.room}”` };
    } catch {
      return null; // no such room can exist: the sender invented it
    }
  }
  return null;
}

// heardBy lists, as wildcards, the possible subjects of an event without that: room first, the narrowest.
function heardBy(wantsAck) {
  if (wantsAck) {
    return [subjects.to('ask', '>')];
  }
  const patterns = [subjects.to('*', all), subjects.to('*', socketTarget(socket.id))];
  return joined === null ? patterns : [subjects.to('*', roomTarget(joined)), ...patterns];
}

// --- The forms -----------------------------------------------------------------------------------------------------

// onEnter sets what the Enter key does in one field, instead of its form's button.
function onEnter(field, action) {
  at(field).addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.isComposing) {
      event.preventDefault();
      action();
    }
  });
}

function chooseTarget(id) {
  at('target').value = id;
  at('text').focus();
}

function problem(text) {
  at('problem').textContent = text;
  at('problem').hidden = text === '';
  if (text !== '') {
    at('problem').scrollIntoView({ block: 'nearest' }); // on a narrow screen it may be out of sight
  }
}

// goTo enters the namespace and, unless it is null, the room that the fields name.
function goTo(roomName) {
  problem('');
  const typed = at('namespace').value.trim();
  const name = typed.startsWith('/') ? typed : `/${typed}`;
  at('namespace').value = name;
  if (/[,?#]/.test(name)) {
    problem('A namespace cannot hold a comma, a question mark or a number sign: they end it in a packet or a URL.');
    return;
  }
  if (name !== namespace || socket === null) {
    try {
      connect(name);
      wanted = roomName; // entered once connected
    } catch (error) {
      problem(error.message);
      if (socket === null) {
        showState('disconnected');
      }
    }
    return;
  }
  if (roomName === null) {
    return;
  }
  if (!socket.connected) {
    wanted = roomName;
    return;
  }
  inOrder(() => enter(roomName)).then((done) => {
    if (done && at('settings').contains(document.activeElement)) {
      at('text').focus(); // what comes next
    }
  });
}

function showPlace() {
  if (!socket?.connected) {
    at('where').textContent = `Not connected to ${namespace}.`;
  } else if (joined === null) {
    at('where').textContent = `In no room of ${namespace}: messages go to all of it.`;
  } else {
    at('where').textContent = `In room “${joined}” of ${namespace}: messages go to the others in it.`;
  }
  at('leave').disabled = joined === null && wanted === null;
  at('send-room').textContent = joined === null ? 'Send' : 'Send to room';
  showTerminal();
}

// showTerminal lists commands for the current namespace and room.
function showTerminal() {
  const target = joined === null ? all : roomTarget(joined);
  const commands = [
    ['Watch everything', natsLine('sub', `${prefix}.>`, null, { server })],
    [joined === null ? `Speak to all of ${namespace}` : `Speak to room “${joined}”`, natsLine('pub', subjects.to('emit', target), body('message', 'hello from NATS'), { server })],
  ];
  if (socket?.connected) {
    const me = socketTarget(socket.id);
    commands.push(
      ['Speak to this tab alone', natsLine('pub', subjects.to('emit', me), body('message', 'only for you'), { server })],
    );
  }
  at('terminal').replaceChildren(...commands.flatMap(([what, command]) =>
    [element('dt', '', what), element('dd', '', line(command, `Copy: ${what}`))]));
}

// --- The name ------------------------------------------------------------------------------------------------------

const qualities = ['Quiet', 'Merry', 'Bright', 'Gentle', 'Swift', 'Curious', 'Sunny', 'Brave'];
const animals = ['Otter', 'Heron', 'Fox', 'Lynx', 'Robin', 'Badger', 'Seal', 'Wren'];

// madeUpName returns this tab's name until one is chosen.
function madeUpName() {
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  const name = stored(sessionStorage, 'made-up-name') || `${pick(qualities)} ${pick(animals)}`;
  store(sessionStorage, 'made-up-name', name);
  return name;
}

function myName() {
  return at('name').value.trim() || at('name').placeholder;
}

// A browser may refuse storage; the page works without it.
function stored(storage, key) {
  try { return storage.getItem(`partyline-${key}`) ?? ''; } catch { return ''; }
}

function store(storage, key, value) {
  try { storage.setItem(`partyline-${key}`, value); } catch { /* not remembered, then */ }
}

// --- Start ---------------------------------------------------------------------------------------------------------

at('name').placeholder = madeUpName();
at('name').value = stored(localStorage, 'name');
at('name').addEventListener('input', () => store(localStorage, 'name', at('name').value.trim()));

at('settings').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = at('room').value;
  if (name === '') {
    problem('Type the name of a room first.');
  } else {
    goTo(name);
  }
});
at('namespace').addEventListener('change', () => goTo(null));
onEnter('namespace', () => goTo(null));
onEnter('target', () => send('direct'));
at('leave').addEventListener('click', () => { problem(''); inOrder(exit); });
at('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  send('room');
});
at('send-all').addEventListener('click', () => send('all'));
at('send-direct').addEventListener('click', () => send('direct'));
at('reconnect').addEventListener('click', () => { problem(''); showState('connecting'); socket.connect(); });
at('copy-socket-id').addEventListener('click', () => copy(socket.id, at('copy-socket-id'), at('socket-id')));

goTo(null);
