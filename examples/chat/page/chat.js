// The chat's page. It is plain Socket.IO: events, acks, and an ack of its own for direct messages. What people write is
// only ever set as text.

const namespace = '/chat_room';
const patience = 8000; // milliseconds for an answer
const again = 3000; // milliseconds until the next attempt, while nothing answers
const at = (id) => document.getElementById(id);

let socket = null;
let name = '';
let shown = null; // the conversation on the screen
let isAway = false; // the edge is there, and no service of the chat answers
const conversations = new Map(); // by id: "#room" or "@name"
const joining = new Map(); // rooms whose people are not known yet, with the changes of them that have come already

// The key gives this page its name back while the server still has its old connection. It belongs to this tab: another tab
// is another person.
const key = remembered('key', () => crypto.getRandomValues(new Uint32Array(4)).join('-'));

function remembered(what, make = () => '') {
  try {
    const value = sessionStorage.getItem(`chat-${what}`) ?? make();
    sessionStorage.setItem(`chat-${what}`, value);
    return value;
  } catch {
    return make(); // storage is not allowed; the page works without it
  }
}

function remember(what, value) {
  try { sessionStorage.setItem(`chat-${what}`, value); } catch { /* not remembered, then */ }
}

// --- Connection -----------------------------------------------------------------------------------------------------

async function enter(wanted) {
  if (typeof io === 'undefined' && !await loadClient()) {
    doorProblem('The Socket.IO client cannot be loaded: is the edge running? Press Enter to try again.');
    return;
  }
  socket?.disconnect();
  name = wanted;
  const mine = io(document.body.dataset.edge + namespace, { forceNew: true, auth: (give) => give({ name, key }) });
  socket = mine;
  // The edge has no answer of the chat yet, which may be starting. The edge repeats the request.
  let waiting = 0;
  mine.io.on('open', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (mine !== socket || mine.connected || !mine.active) { return; }
      state('waiting');
      (at('door').hidden ? problem : doorProblem)('Waiting for the chat to answer …');
    }, 1500);
  });
  mine.on('connect', () => {
    clearTimeout(waiting);
    doorProblem('');
    remember('name', name);
    isAway = false;
    state('connected');
    at('door').hidden = true;
    at('chat').hidden = false;
    at('me').textContent = name;
    for (const c of conversations.values()) {
      if (c.room && c.socket !== mine.id) { join(c.room); } // else it has recovered: it is in the room, and misses nothing
    }
    if (conversations.size === 0) {
      join(decodeURIComponent(location.hash.slice(1)) || 'lobby').then(() => at('text').focus());
    }
    sendAgain();
  });
  mine.on('connect_error', (error) => {
    if (mine.active) {
      state('connecting'); // the client tries again
      if (!at('door').hidden) { doorProblem('No connection yet, trying …'); }
      return;
    }
    at('door').hidden = false; // refused
    at('chat').hidden = true;
    doorProblem(error.message);
  });
  mine.on('disconnect', (reason) => {
    state(mine.active ? 'connecting' : 'ended');
    if (reason === 'io server disconnect') {
      problem('You are here in another tab now, or somebody else took your name.', 'Come back here', () => { state('connecting'); mine.connect(); });
    }
  });
  listen(mine);
}

// loadClient loads the client again, which the page could not load, and returns whether it is there.
function loadClient() {
  const script = document.createElement('script');
  script.src = at('client').src;
  return new Promise((done) => {
    script.onload = () => done(true);
    script.onerror = () => done(false);
    document.head.append(script);
  });
}

function state(value) {
  at('state').dataset.state = value;
  at('state').textContent = value;
  if (value === 'connected') { problem(''); }
}

// ask emits an event and returns its ack. If it fails, it shows why and returns null.
async function ask(event, ...values) {
  const answer = await answerTo(event, ...values);
  if (!answer) { return null; }
  problem(answer.error ?? '');
  return answer.error ? null : answer;
}

// answerTo emits an event and returns its ack, or null if there is none in time.
async function answerTo(event, ...values) {
  const mine = socket;
  try {
    const answer = await mine.timeout(patience).emitWithAck(event, ...values);
    if (mine === socket && isAway) { back(); }
    return answer;
  } catch {
    if (mine === socket && mine.connected && !isAway) { away(); }
    return null;
  }
}

// away asks again and again while no service answers. There is a button for those who do not want to wait.
function away() {
  isAway = true;
  state('waiting');
  problem('The chat does not answer just now. What you write waits here, and is sent when it is back.', 'Try now', () => answerTo('rooms'));
  const probe = async () => {
    if (!isAway) { return; }
    if (socket.connected) { await answerTo('rooms'); }
    setTimeout(probe, again);
  };
  probe();
}

function back() {
  isAway = false;
  state('connected');
  for (const c of conversations.values()) {
    if (c.room && c.socket !== socket.id) { join(c.room); }
  }
  sendAgain();
}

function listen(from) {
  from.on('message', (line) => {
    if (joining.has(line.room)) { open(`#${line.room}`); } // its last lines may come before the answer
    add(`#${line.room}`, line);
  });
  from.on('direct', (line, ack) => { add(open(`@${line.from}`).id, line); ack('seen'); });
  from.on('joined', (room, who) => change(room, (people) => people.add(who)));
  from.on('left', (room, who) => change(room, (people) => people.delete(who)));
  from.on('gone', (who) => everywhere((people) => people.delete(who)));
  from.on('renamed', (old, who) => everywhere((people) => { if (people.delete(old)) { people.add(who); } }));
  from.on('typing', (room, who) => {
    const c = conversations.get(`#${room}`);
    if (c) {
      c.typing.set(who, Date.now());
      showTyping();
      setTimeout(showTyping, 3100);
    }
  });
}

// --- Conversations --------------------------------------------------------------------------------------------------

// open returns a conversation, and creates it if necessary. Its id is "#room" or "@name".
function open(id) {
  let c = conversations.get(id);
  if (!c) {
    c = { id, room: id.startsWith('#') ? id.slice(1) : null, who: id.startsWith('@') ? id.slice(1) : null, lines: [], underWay: [], people: new Set(), typing: new Map(), unread: 0 };
    conversations.set(id, c);
    showConversations();
  }
  return c;
}

function close(c) {
  conversations.delete(c.id);
  show(conversations.values().next().value ?? null);
}

async function join(room) {
  const meanwhile = []; // who comes and goes before the answer may not be in it
  joining.set(room, meanwhile);
  const answer = await ask('join', room);
  if (joining.get(room) === meanwhile) { joining.delete(room); }
  if (!answer) { return; }
  const c = open(`#${room}`);
  c.socket = socket.id;
  c.people = new Set(answer.people);
  for (const act of meanwhile) { act(c.people); }
  if (shown === null || shown === c || document.activeElement === at('room')) { show(c); }
}

// add appends a line, unless it is there already: a room that is joined again sends its last lines again.
function add(id, line) {
  const c = conversations.get(id);
  if (!c || line.id && c.lines.some((known) => known.id === line.id)) { return; }
  c.underWay = c.underWay.filter((mine) => mine.id !== line.id);
  c.lines.push(line);
  c.lines.splice(0, c.lines.length - 500);
  c.typing.delete(line.from);
  if (c === shown) {
    showLines();
    showTyping();
  } else {
    c.unread++;
    showConversations();
  }
}

// --- Lines under way ------------------------------------------------------------------------------------------------

// say shows a line at once, and sends it. Its id lets the chat know it again if it is sent twice.
function say(c, text) {
  const line = { id: [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join(''), from: name, text, at: new Date().toISOString() };
  c.underWay.push(line);
  deliver(c, line);
}

// deliver sends a line that is under way. In a room it comes back as a line of all.
async function deliver(c, line) {
  line.failed = '';
  line.isSent = true;
  redraw(c);
  const answer = c.room ? await answerTo('message', c.room, line.text, line.id) : await answerTo('direct', c.who, line.text);
  line.isSent = false;
  if (answer && !answer.error && c.who) {
    c.underWay = c.underWay.filter((mine) => mine !== line);
    c.lines.push({ ...line, at: answer.at });
  } else if (!answer || answer.error) {
    line.failed = answer?.error ?? 'no answer yet';
    line.again = !answer && c.room !== null; // by itself: a direct message could arrive twice
  }
  redraw(c);
}

// sendAgain sends the lines to rooms that got no answer.
function sendAgain() {
  for (const c of conversations.values()) {
    for (const line of c.underWay.filter((each) => each.again && !each.isSent)) { deliver(c, line); }
  }
}

function redraw(c) {
  if (c === shown) { showLines(); }
}

// fate shows what becomes of a line that is under way.
function fate(c, line) {
  const text = line.isSent ? 'sending …' : line.again ? 'waits for the chat …' : `Not sent: ${line.failed}`;
  const made = element('p', line.isSent || line.again ? 'fate' : 'fate failed', `${text} `);
  const act = (label, on) => {
    const button = element('button', '', label);
    button.type = 'button';
    button.addEventListener('click', on);
    made.append(button);
  };
  if (!line.isSent && !line.again) { act('Send again', () => deliver(c, line)); }
  if (!line.isSent) {
    act('Discard', () => { c.underWay = c.underWay.filter((mine) => mine !== line); redraw(c); at('text').focus(); });
  }
  return made;
}

// change changes the people of a room.
function change(room, act) {
  joining.get(room)?.push(act);
  const c = conversations.get(`#${room}`);
  if (c) {
    act(c.people);
    if (c === shown) { showPeople(); }
  }
}

function everywhere(act) {
  const rooms = [...conversations.values()].map((c) => c.room).filter((room) => room !== null);
  for (const room of new Set([...rooms, ...joining.keys()])) { change(room, act); }
}

// --- The screen -----------------------------------------------------------------------------------------------------

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function show(c) {
  shown = c;
  if (c) {
    c.unread = 0;
    if (c.room) { history.replaceState(null, '', `#${encodeURIComponent(c.room)}`); }
  }
  at('title').textContent = c ? (c.room ?? c.who) : 'No room';
  at('title').dataset.kind = c?.room ? 'room' : 'person';
  at('leave').hidden = !c;
  at('leave').textContent = c?.room ? 'Leave' : 'Close';
  at('text').disabled = !c;
  at('text').placeholder = !c ? 'Join a room first' : c.room ? `To everyone in ${c.room}` : `To ${c.who} alone`;
  showConversations();
  showPeople();
  showLines();
  showTyping();
}

function showConversations() {
  at('conversations').replaceChildren(...[...conversations.values()].map((c) => {
    const button = element('button', c.room ? 'room' : 'person', c.room ?? c.who);
    button.type = 'button';
    button.setAttribute('aria-current', String(c === shown));
    if (c.unread > 0) { button.append(element('span', 'unread', String(c.unread))); }
    button.addEventListener('click', () => { show(c); at('text').focus(); });
    const item = document.createElement('li');
    item.append(button);
    return item;
  }));
}

function showPeople() {
  const people = [...(shown?.people ?? [])].sort((a, b) => a.localeCompare(b));
  at('people').replaceChildren(...people.map((who) => {
    const item = document.createElement('li');
    const button = element('button', 'who', who === name ? `${who} (you)` : who);
    button.type = 'button';
    button.disabled = who === name;
    button.title = who === name ? '' : `Write to ${who} alone`;
    button.style.setProperty('--hue', hue(who));
    button.addEventListener('click', () => { show(open(`@${who}`)); at('text').focus(); });
    item.append(button);
    return item;
  }));
}

function showLines() {
  const log = at('log');
  const lines = [...shown?.lines ?? [], ...shown?.underWay ?? []];
  const atEnd = log.dataset.of !== shown?.id || log.scrollHeight - log.scrollTop - log.clientHeight < 80; // else a person reads older lines
  log.dataset.of = shown?.id;
  log.replaceChildren(...lines.map((line, i) => {
    const entry = element('article', line.from === name ? 'line mine' : 'line', '');
    const before = lines[i - 1];
    const when = new Date(line.at);
    if (before?.from !== line.from || when - new Date(before.at) > 300_000) {
      const head = element('p', 'from', line.from);
      head.style.setProperty('--hue', hue(line.from));
      const time = element('time', '', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
      time.dateTime = line.at;
      head.append(time);
      entry.append(head);
    }
    entry.append(element('p', 'text', line.text));
    if (shown.underWay.includes(line)) {
      entry.classList.add('under-way');
      entry.append(fate(shown, line));
    }
    return entry;
  }));
  if (lines.length === 0) {
    log.append(element('p', 'empty', !shown ? 'Join a room.' : shown.room ? 'Nobody has said anything here yet.' : 'Nobody but you two sees this.'));
  }
  if (atEnd) { log.scrollTop = log.scrollHeight; }
}

// A log that shows its end does so also when a problem takes a part of its place.
let showsEnd = true;
at('log').addEventListener('scroll', () => { showsEnd = at('log').scrollHeight - at('log').scrollTop - at('log').clientHeight < 80; });
new ResizeObserver(() => { if (showsEnd) { at('log').scrollTop = at('log').scrollHeight; } }).observe(at('log'));

function showTyping() {
  const now = [...(shown?.typing ?? [])].filter(([, since]) => Date.now() - since < 3000).map(([who]) => who);
  at('typing').textContent = now.length === 0 ? '' : `${now.join(', ')} ${now.length === 1 ? 'is' : 'are'} typing …`;
}

// problem shows what is wrong, and a button that may help.
function problem(text, button = '', act = null) {
  at('problem-text').textContent = text;
  at('problem').hidden = text === '';
  at('back').textContent = button;
  at('back').hidden = button === '';
  at('back').onclick = act;
}

function doorProblem(text) {
  at('door-problem').textContent = text;
  at('door-problem').hidden = text === '';
}

// hue gives each name a colour that stays the same.
function hue(text) {
  let sum = 0;
  for (const character of text) { sum = (sum * 31 + character.codePointAt(0)) % 360; }
  return String(sum);
}

// --- The forms ------------------------------------------------------------------------------------------------------

function onSubmit(form, act) {
  at(form).addEventListener('submit', (event) => { event.preventDefault(); act(); });
}

onSubmit('door', () => {
  const wanted = at('name').value.trim();
  doorProblem(wanted === '' ? 'Type a nickname first.' : '');
  if (wanted !== '') { enter(wanted); }
});

onSubmit('join', async () => {
  const room = at('room').value.trim();
  if (room === '') { return; }
  await join(room);
  if (conversations.has(`#${room}`)) {
    at('room').value = '';
    show(conversations.get(`#${room}`));
    at('text').focus();
  }
});

let lastTyping = 0; // when the others were told

onSubmit('composer', () => {
  const text = at('text').value;
  if (!shown || text.trim() === '') { return; }
  at('text').value = '';
  lastTyping = 0;
  say(shown, text);
});

at('text').addEventListener('input', () => {
  if (shown?.room && socket?.connected && Date.now() - lastTyping > 2000) {
    lastTyping = Date.now();
    socket.volatile.emit('typing', shown.room);
  }
});

at('leave').addEventListener('click', async () => {
  const c = shown;
  if (!c.room || await ask('leave', c.room)) { close(c); }
});

at('room').addEventListener('focus', async () => {
  const answer = await ask('rooms');
  const options = Object.entries(answer?.rooms ?? {}).map(([room, people]) => {
    const option = element('option', '', `${people} here`);
    option.value = room;
    return option;
  });
  at('rooms').replaceChildren(...options);
});

at('me').addEventListener('click', () => {
  at('new-name').value = name;
  at('rename').showModal();
});

at('rename').addEventListener('close', async () => {
  const wanted = at('new-name').value.trim();
  if (at('rename').returnValue !== 'save' || wanted === name) { return; }
  const answer = await ask('nickname', wanted);
  if (!answer) { return; }
  const old = name;
  name = answer.name;
  remember('name', name);
  at('me').textContent = name;
  for (const c of conversations.values()) {
    if (c.people.delete(old)) { c.people.add(name); }
  }
  show(shown);
});

// --- Start ----------------------------------------------------------------------------------------------------------

at('name').value = remembered('name');
if (at('name').value !== '') {
  enter(at('name').value); // the page was reloaded
}
