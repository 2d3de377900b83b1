// The test page: a chat over one namespace, which shows the NATS subject of each message.
//
// In the development mode the edge needs no service: it answers `join` and `leave` with a room itself. `message` goes to
// the others in the sender's room, or to all others if it is in none; `everyone` to all others; `direct` to the socket
// that its first argument names. These three are also published for services, on `on.<event>`. In a declared namespace
// the edge tells the page what is relayed.

import { Subjects, all, room as roomTarget, socket as socketTarget, body, natsLine, isSocketId } from './contract.js';
import { announce, append, copy, element, entry, facts, hue, line, list, subjectCode } from './log.js';
import { anyEvent, choices, mayJoin, readRules, relayOf, route, showsPeople } from './rules.js';
import { forgetPeople, learn, named, showRules, showTerminal, startTail } from './side.js';

const answerTimeout = 8000; // milliseconds for the answer to join or leave, or an ack

const { prefix, path, nats: server, open, tail } = document.body.dataset;
const isOpen = open !== undefined;
const at = (id) => document.getElementById(id);

let socket = null; // in the current namespace
let namespace = '';
let subjects = null; // of that namespace
let shownAuth = ''; // what the field had when the socket connected
let rules = null; // of that namespace; null: not declared
let joined = null; // the room this socket is in
let wanted = null; // the room to join, also after a reconnect
let doing = Promise.resolve(); // room changes and messages run one after the other, so that a message's subject is certain

// --- Connection ----------------------------------------------------------------------------------------------------

async function connect(name) {
  if (typeof io === 'undefined') {
    throw new Error(`There is no Socket.IO client at ${path}: run “make client” in the source tree and build again.`);
  }
  const next = new Subjects(prefix, name); // throws for a name that has no subject
  const auth = readAuth();
  shownAuth = at('auth').value;
  socket?.disconnect();
  const mine = io(name, { path, forceNew: true, auth, autoConnect: false });
  socket = mine;
  namespace = name;
  subjects = next;
  joined = null;
  rules = null;
  showState('connecting');
  const known = await readRules(name);
  if (socket !== mine) {
    return;
  }
  rules = known;
  showRules(name, rules);
  at('auth-field').hidden = rules === null || rules.connect === 'open';
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
  mine.connect();
  showPlace();
}

// readAuth returns what the page shows a service or the edge when it connects.
function readAuth() {
  const text = at('auth').value.trim();
  if (text === '') {
    return undefined;
  }
  try {
    return Object(JSON.parse(text));
  } catch (error) {
    throw new Error(`Auth is no JSON: ${error.message}`);
  }
}

function onConnect() {
  showState('connected');
  at('socket-id').textContent = socket.id;
  at('copy-socket-id').disabled = false;
  named(socket.id, myName());
  notice(socket.recovered ? `Back in ${namespace} as ${socket.id}; nothing was missed` : `Connected to ${namespace} as ${socket.id}`,
    [['Services heard', subjectCode(`${subjects.base}.on.connect`, prefix)]]);
  if (socket.recovered && wanted !== null) {
    joined = wanted; // with its rooms
    askWho();
  } else if (wanted !== null) {
    inOrder(() => enter(wanted));
  }
  showPlace();
}

function onDisconnect(reason) {
  joined = null;
  showState('disconnected', reason); // reconnect_attempt follows, unless it is final
  showTransport('');
  at('socket-id').textContent = '–';
  at('copy-socket-id').disabled = true;
  notice(`Disconnected: ${reason}`, [['Services heard', subjectCode(`${subjects.base}.on.disconnect`, prefix)]]);
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
  fold(false);
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
    fold(true);
    return;
  }
  roomTarget(name); // throws for a name that has no subject
  if (!mayJoin(rules, name)) {
    wanted = null;
    throw new Error(`By the rules of ${namespace} clients cannot join “${name}” themselves. You are connected without a room.`);
  }
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
  notice(`Joined room “${name}”`, [
    ['The edge subscribes', subjectCode(subjects.to('*', roomTarget(name)), prefix)],
    ['The same by hand', line(natsLine('req', subjects.to('join', socketTarget(socket.id)), JSON.stringify([name]), { server }), 'Copy this command')],
  ]);
  fold(true);
  showPlace();
  askWho();
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
  notice(`Left room “${name}”`, [
    ['The same by hand', line(natsLine('req', subjects.to('leave', socketTarget(socket.id)), JSON.stringify([name]), { server }), 'Copy this command')],
  ]);
  showPlace();
}

// askWho asks the edge who is in the room. It sends the changes by itself.
async function askWho() {
  const [mine, name] = [socket, joined];
  if (!showsPeople(rules, name)) {
    forgetPeople('The rooms of this namespace do not show who is in them.');
    return;
  }
  try {
    const list = await mine.timeout(answerTimeout).emitWithAck(rules.presence.event, name);
    if (socket === mine && joined === name) {
      learn(list, mine.id, chooseTarget);
    }
  } catch { /* the connection is gone, and the next one asks again */ }
}

// --- Messages out --------------------------------------------------------------------------------------------------

// planned returns the event and its arguments that the composer sends.
function planned(kind, text) {
  if (kind === anyEvent) {
    const event = at('event').value.trim();
    if (event === '') {
      throw new Error('Type the name of the event.');
    }
    try {
      return { event, values: JSON.parse(`[${text}]`), wantsAck: at('ack').checked };
    } catch (error) {
      throw new Error(`The arguments are no JSON: ${error.message}. Write for instance: "hello", {"n": 1}`);
    }
  }
  if (text.trim() === '') {
    throw new Error('Type a message first.');
  }
  const to = relayOf(rules, kind)?.to;
  const target = at('target').value.trim();
  if (to === 'socket' && !isSocketId(target)) {
    throw new Error('To send to one socket, give its id: click a name beside the messages, or copy it from the other tab.');
  }
  const values = to === 'socket' ? [target, text] : to === 'room' ? [joined, text] : [text];
  if (isOpen) { // for the page at the other end; a service of yours gets what you typed, and nothing else
    const inRoom = to === 'rooms_or_all' && joined !== null;
    values.push({ from: socket.id, name: myName(), to: to === 'socket' ? 'socket' : inRoom ? 'room' : 'all', ...(inRoom && { room: joined }) });
  }
  return { event: kind, values, wantsAck: false };
}

async function send() {
  const text = at('text').value;
  at('text').focus();
  const sent = await inOrder(() => {
    if (!socket?.connected) {
      throw new Error('Not connected, so nothing was sent.');
    }
    const { event, values, wantsAck } = planned(at('kind').value, text);
    const { subject, where, reply, note } = route(rules, subjects, event, values[0], { id: socket.id, joined });
    const said = body(event, ...values);
    const onServices = subjects.on(event);
    problem('');
    const command = subject && natsLine('pub', subject, said, { reply, server });
    const shown = message({
      direction: 'out', event, body: said, who: `${myName()} (you)`, from: socket.id, where, text: at('kind').value === anyEvent ? said : text,
      subjects: [onServices, subject].filter(Boolean), command,
      details: [['For services', subjectCode(onServices, prefix)], ['Relayed on', subject && subjectCode(subject, prefix)],
        ['The same by hand', command && line(command, 'Copy this command')], ['', note]],
    });
    if (wantsAck) {
      awaitAck(shown, socket.timeout(answerTimeout).emitWithAck(event, ...values));
    } else {
      socket.emit(event, ...values);
    }
  });
  if (sent && at('text').value === text) {
    at('text').value = '';
  }
}

// awaitAck shows an ack behind its event.
async function awaitAck(shown, answering) {
  const ack = element('span', 'ack', 'ack …');
  shown.firstElementChild.append(ack);
  try {
    ack.textContent = `ack ${JSON.stringify(await answering)}`;
  } catch {
    ack.textContent = `no ack within ${answerTimeout / 1000} s`;
    ack.classList.add('bad');
  }
  announce(ack.textContent);
}

// --- Messages in ---------------------------------------------------------------------------------------------------

// onEvent shows any event. Who sent it, and to whom, is known only if the sender adds that, as this page does.
function onEvent(event, ...values) {
  if (event === rules?.presence?.event) {
    if (values[0]?.room === joined) {
      learn(values[0], socket.id, chooseTarget);
    }
    return;
  }
  const ack = typeof values.at(-1) === 'function' ? values.pop() : null;
  let attachments = 0;
  const said = JSON.stringify([event, ...values], (key, value) =>
    value instanceof ArrayBuffer ? { _placeholder: true, num: attachments++ } : value);
  const told = toldBy(event, values);
  const known = told !== null && ack === null && attachments === 0;
  const heard = known ? [told.subject] : heardBy(ack !== null);
  const first = event === 'direct' && values[0] === socket.id ? values[1] : values[0];
  const text = event === 'message' || known ? (typeof first === 'string' ? first : JSON.stringify(first)) : JSON.stringify(JSON.parse(said).slice(1));
  const again = known ? told.subject : subjects.to(ack ? 'ask' : 'emit', ack ? socketTarget(socket.id) : joined === null ? all : roomTarget(joined));

  let note = '';
  if (attachments > 0) {
    note = `It carried ${attachments} binary attachment(s): on NATS they follow the body, and a Sio-Attachments header gives their lengths.`;
  } else if (ack) {
    note = 'It asked for an ack, and this page answered ["ok"].';
  } else if (!known) {
    note = isOpen ? 'No page like this one sent it, so it came from a NATS client, or from a client of yours. The edge listens on these subjects for this socket.'
      : 'A NATS client sent it, or a client by a relay rule. The edge listens on these subjects for this socket.';
  }
  const command = attachments > 0 ? '' : natsLine(ack ? 'req' : 'pub', again, said, { reply: told?.reply ?? '', server });
  named(told?.from, told?.name);
  message({
    direction: 'in', event: String(event), body: said, who: known ? told.name : isOpen ? 'from NATS' : 'received', from: known ? told.from : '',
    where: known ? told.where : event === 'message' ? '' : String(event), text, subjects: heard, command,
    details: [
      [known ? 'Came on' : heard.length > 1 ? 'Heard on one of' : 'Heard on', heard.map((subject) => subjectCode(subject, prefix))],
      ['The same by hand', command && line(command, 'Copy this command')], ['', note],
    ],
  });
  ack?.('ok');
}

// toldBy returns what this page's senders add as last argument, or null if it is missing.
function toldBy(event, values) {
  const told = values.at(-1);
  if (!isOpen || told === null || typeof told !== 'object' || !isSocketId(told.from) || typeof told.name !== 'string') {
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

// --- The messages ---------------------------------------------------------------------------------------------------

// message shows a message and returns its entry.
function message({ direction, event, body: said, who, from, where, text, subjects: on, command, details }) {
  const name = element('span', from ? 'who' : 'who unnamed', who);
  name.style.setProperty('--hue', hue(from || who));
  const made = entry(`message ${direction}`, [name, ' ', element('span', 'where', where), ' ', element('span', 'text', text)], () => {
    const pairs = [['Body', element('code', '', said)], ...details];
    if (direction === 'in' && from) {
      const answer = element('button', 'copy', 'Write to this socket', { type: 'button' });
      answer.addEventListener('click', () => chooseTarget(from));
      pairs.push(['Sender', [element('code', '', from), ' ', answer]]);
    }
    return facts(pairs);
  }, {
    'data-direction': direction, 'data-event': event, 'data-body': said, 'data-subject': on.at(direction === 'out' ? -1 : 0),
    'data-subjects': on.join(' '), 'data-command': command,
  });
  at('empty')?.remove();
  append(at('log'), made);
  if (direction === 'in') {
    announce([who, where].filter(Boolean).join(', ') + `: ${text}`);
  }
  return made;
}

// notice shows what happened to this page's socket, with its messages on NATS.
function notice(text, details) {
  const empty = at('empty'); // stays last until the first message
  append(at('log'), entry('notice', [element('span', 'text', text)], () => facts(details)));
  if (empty) {
    at('log').append(empty);
  }
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
  const direct = rules?.relay.find(({ to, event }) => to === 'socket' && !event.includes('*'));
  if (!direct) {
    problem(`No relay rule of ${namespace} reaches one socket. From a terminal you can: ${natsLine('pub', subjects.address(id), body('message', 'hi'), { server })}`);
    return;
  }
  at('target').value = id;
  at('kind').value = direct.event;
  showComposer();
  showSide(false);
  at('text').focus();
}

function problem(text) {
  at('problem').textContent = text;
  at('problem').hidden = text === '';
}

// fold hides the settings, or shows them.
function fold(hide) {
  at('settings').hidden = hide;
  at('change').setAttribute('aria-expanded', String(!hide));
}

// showSide shows, on a narrow screen, what is beside the messages in place of them.
function showSide(show) {
  document.body.classList.toggle('beside', show);
  at('more').setAttribute('aria-expanded', String(show));
}

// goTo enters the namespace and, unless it is null, the room that the fields name.
async function goTo(roomName) {
  problem('');
  const typed = at('namespace').value.trim();
  const name = typed.startsWith('/') ? typed : `/${typed}`;
  at('namespace').value = name;
  if (/[,?#]/.test(name)) {
    problem('A namespace cannot hold a comma, a question mark or a number sign: they end it in a packet or a URL.');
    return;
  }
  if (name !== namespace || socket === null || at('auth').value !== shownAuth) {
    try {
      wanted = roomName; // entered once connected
      await connect(name);
    } catch (error) {
      problem(error.message);
      if (!socket?.connected) {
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
  if (await inOrder(() => enter(roomName)) && (at('settings').contains(document.activeElement) || document.activeElement === document.body)) {
    at('text').focus(); // what comes next
  }
}

function showPlace() {
  const rooms = new Set([...rules?.auto_join ?? [], ...joined === null ? [] : [joined]]);
  if (!socket?.connected) {
    at('where').textContent = `Not connected to ${namespace}`;
  } else if (rooms.size === 0) {
    at('where').textContent = `In no room of ${namespace}`;
  } else {
    at('where').textContent = `In ${rooms.size > 1 ? 'rooms' : 'room'} ${[...rooms].map((room) => `“${room}”`).join(', ')} of ${namespace}`;
  }
  if (joined === null) {
    forgetPeople('');
  }
  at('leave').disabled = joined === null && wanted === null;
  showComposer();
  showTerminal(namespace, joined, socket?.connected ? socket.id : '');
}

// showComposer offers what can be sent by the rules.
function showComposer() {
  const before = at('kind').value;
  const list = choices(rules, joined);
  at('kind').replaceChildren(...list.map(([value, text]) => element('option', '', text, { value })));
  at('kind').value = list.some(([value]) => value === before) ? before : list[0][0];
  const kind = at('kind').value;
  const any = kind === anyEvent;
  at('event').hidden = !any;
  at('ack-field').hidden = !any;
  at('target').hidden = any || relayOf(rules, kind)?.to !== 'socket';
  at('text-label').textContent = any ? 'Arguments as JSON' : 'Message';
  at('text').placeholder = any ? 'Arguments as JSON: "hello", {"n": 1}' : 'Say something';
  at('text').classList.toggle('mono', any);
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
at('name').addEventListener('input', () => {
  store(localStorage, 'name', at('name').value.trim());
  named(socket?.id, myName());
});

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
at('auth').addEventListener('change', () => goTo(null));
onEnter('auth', () => goTo(null));
at('leave').addEventListener('click', () => { problem(''); inOrder(exit); });
at('change').addEventListener('click', () => {
  fold(!at('settings').hidden);
  if (!at('settings').hidden) {
    at('room').focus();
  }
});
at('more').addEventListener('click', () => showSide(!document.body.classList.contains('beside')));
at('kind').addEventListener('change', () => { problem(''); showComposer(); });
at('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
at('reconnect').addEventListener('click', () => { problem(''); showState('connecting'); socket.connect(); });
at('copy-socket-id').addEventListener('click', () => copy(socket.id, at('copy-socket-id'), at('socket-id')));

list(at('log'));
if (tail !== undefined) {
  startTail();
}
goTo(null);
