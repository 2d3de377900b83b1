// The page in the default mode: all its functions, and that it shows the real NATS subjects.

import { assert, browserScene, control, until } from './tabs.mjs';

const inspecting = 180_000; // milliseconds for a scene that inspects a tab

const connected = (tab) => tab.locator('#state[data-state=connected]').waitFor();
const inRoom = (tab, room) => tab.locator('#where', { hasText: `“${room}”` }).waitFor();
const inNoRoom = (tab) => tab.locator('#where', { hasText: 'In no room' }).waitFor();
const idOf = async (tab) => (await tab.locator('#socket-id').textContent()).trim();
const hears = (tab, text) => tab.locator('#log [data-direction=in]', { hasText: text }).waitFor();

// messages returns the messages in a tab: direction, event, body and subjects of each.
const messages = (tab) => tab.locator('#log [data-direction]').evaluateAll((all) => all.map((m) => (
  { direction: m.dataset.direction, command: m.dataset.command, event: m.dataset.event, body: m.dataset.body, subject: m.dataset.subject, subjects: m.dataset.subjects.split(' '), text: m.innerText })));

const heardBy = async (tab) => (await messages(tab)).filter((m) => m.direction === 'in').map((m) => JSON.parse(m.body)).map(([event, ...values]) => values[event === 'direct' ? 1 : 0]);

// click brings the tab to the front first, as a person would. Chromium paints a background tab only once a second.
async function click(tab, target) {
  await tab.bringToFront();
  await (typeof target === 'string' ? tab.locator(target) : target).click();
}

async function enter(tab, name, room) {
  await connected(tab);
  await tab.fill('#name', name);
  await tab.fill('#room', room);
  await click(tab, '#join');
  await inRoom(tab, room);
  await tab.locator('#settings').waitFor({ state: 'hidden' });
}

async function say(tab, text, event = 'message') {
  await tab.selectOption('#kind', event);
  await tab.fill('#text', text);
  await click(tab, '#send');
}

// emits sends any event with arguments as JSON.
async function emits(tab, event, args) {
  await tab.selectOption('#kind', '*');
  await tab.fill('#event', event);
  await tab.check('#ack');
  await tab.fill('#text', args);
  await click(tab, '#send');
}

// matches reports whether a subject matches a subscription.
function matches(pattern, subject) {
  const [p, t] = [pattern.split('.'), subject.split('.')];
  return p.every((token, i) => token === '>' ? i < t.length : i < t.length && (token === '*' || token === t[i]))
    && (p.at(-1) === '>' || p.length === t.length);
}

browserScene('join, talk, to all, to one, leave, and a NATS client among them', async (s, window) => {
  const nats = await s.nats();
  const tapped = [];
  await s.service(nats, 'sio.>', (m) => { tapped.push({ subject: m.subject, body: m.string() }); });

  const [a, b, c] = [await window.open('a', '/'), await window.open('b', '/'), await window.open('c', '/')];
  await enter(a, 'Ann', 'room');
  await enter(b, 'Bo', 'room');
  await connected(c);
  await inNoRoom(c);
  for (const tab of [a, b, c]) {
    await tab.locator('#transport', { hasText: 'websocket' }).waitFor();
    assert.match(await idOf(tab), /^[0-9a-z]{8}\.[\w-]{20}$/);
  }

  await say(a, 'hello room');
  await hears(b, 'hello room');
  assert.match((await messages(b)).at(-1).text, /Ann/);
  await say(b, 'hello everyone', 'everyone');
  await hears(a, 'hello everyone');
  await hears(c, 'hello everyone');

  // To one socket: its message opens, and has its id. Or its name is among those in the room.
  await click(a, a.locator('#log [data-direction=in] summary', { hasText: 'hello everyone' }));
  await click(a, a.locator('#log [data-direction=in] button', { hasText: 'Write to this socket' }));
  assert.equal(await a.inputValue('#target'), await idOf(b));
  await say(a, 'between us', 'direct');
  await hears(b, 'between us');
  await click(b, b.locator('#people button', { hasText: 'Ann' }));
  assert.equal(await b.inputValue('#target'), await idOf(a));
  await c.selectOption('#kind', 'direct');
  await c.fill('#target', await idOf(a));
  await say(c, 'from outside', 'direct');
  await hears(a, 'from outside');

  s.publish(nats, 'sio.chat_room.emit.room.room', '["message","hi"]');
  s.publish(nats, `sio.chat_room.emit.socket.${await idOf(c)}`, '["message","only c"]');
  await hears(a, /\bhi\b/);
  await hears(b, /\bhi\b/);
  await hears(c, 'only c');
  assert.match((await messages(c)).at(-1).text, /from NATS/);
  assert.match((await messages(c)).at(-1).command, /^nats .*pub sio\.chat_room\.emit\.all /);

  await click(b, '#change');
  await click(b, '#leave');
  await inNoRoom(b);
  await say(a, 'who is left?');
  await say(a, 'bye', 'everyone');
  await hears(b, 'bye');
  await hears(c, 'bye');

  assert.deepEqual(await heardBy(a), ['hello everyone', 'from outside', 'hi']);
  assert.deepEqual(await heardBy(b), ['hello room', 'between us', 'hi', 'bye']);
  assert.deepEqual(await heardBy(c), ['hello everyone', 'only c', 'bye']);

  // The subjects on the page are those that a subscriber to everything received.
  let compared = 0;
  for (const tab of [a, b, c]) {
    for (const m of await messages(tab)) {
      const on = tapped.filter(({ body }) => body === m.body).map(({ subject }) => subject);
      if (m.direction === 'out') {
        assert.deepEqual(m.subjects.filter((subject) => !on.includes(subject)), [], `${m.body} was seen on ${on}`);
        assert.deepEqual([...new Set(on)].sort(), [...m.subjects].sort());
      } else {
        assert.ok(m.subjects.some((pattern) => on.some((subject) => matches(pattern, subject))), `${m.body}: ${m.subjects}, but was seen on ${on}`);
        assert.ok(m.subjects.includes(m.subject));
      }
      compared++;
    }
  }
  assert.equal(compared, 16);
  await a.locator('#people .person', { hasText: 'Ann (you)' }).waitFor();
  await a.locator('#people .person', { hasText: 'Bo' }).waitFor({ state: 'detached' }); // he has left

  // The live tail has each of these messages, with its subject.
  await a.bringToFront();
  await say(a, 'the last one');
  await a.locator('#tail [data-subject="sio.chat_room.broadcast.room.room"]', { hasText: 'the last one' }).waitFor();
  await a.locator('#tail [data-subject="sio.chat_room.on.message"]', { hasText: 'the last one' }).waitFor();
  await window.inspect('chat', a, '#composer', '#text', '#send', '#change');
}, inspecting);

browserScene('any event, with JSON and an ack', async (s, window) => {
  const nats = await s.nats();
  await s.service(nats, 'sio.chat_room.on.order.>', (m) => (m.subject.endsWith('.created') ? `[{"got":${m.string()}}]` : undefined));
  const tab = await window.open('tab', '/');
  await connected(tab);
  await emits(tab, 'order.created', '{"id": 7}, "today"');
  await tab.locator('#log .ack', { hasText: 'ack {"got":["order.created",{"id":7},"today"]}' }).waitFor();
  await emits(tab, 'order.created', '{"id": 7');
  await tab.locator('#problem', { hasText: 'The arguments are no JSON' }).waitFor();
  assert.equal(await tab.inputValue('#text'), '{"id": 7');
  // The other way round: a service asks, and the page answers.
  const answer = await nats.request(`sio.chat_room.ask.socket.${await idOf(tab)}`, '["ready?"]');
  assert.equal(answer.string(), '["ok"]');
  await tab.locator('#log [data-direction=in]', { hasText: 'ready?' }).waitFor();
});

browserScene('five tabs: the live tail has four readers, and says so to the fifth', async (s, window) => {
  window.expected.push(/503 \(Service Unavailable\)/);
  const nats = await s.nats();
  const hold = [];
  for (let n = 0; n < 4; n++) {
    const reader = new AbortController();
    hold.push(reader);
    await fetch(new URL('/tail', process.env.PARTYLINE_URL), { signal: reader.signal });
  }
  const tab = await window.open('fifth', '/');
  await connected(tab);
  await tab.locator('#tail-note', { hasText: 'Other tabs have the live tail' }).waitFor();
  hold.pop().abort();
  await until('there is a place', async () => {
    await click(tab, '#tail-pause');
    s.publish(nats, 'sio.chat_room.emit.all', '["message","in the tail"]');
    return (await tab.locator('#tail [data-subject]', { hasText: 'in the tail' }).count()) > 0;
  });
  for (const reader of hold) {
    reader.abort();
  }
});

browserScene('another namespace and a room with a difficult name', async (s, window) => {
  const nats = await s.nats();
  const seen = await s.service(nats, 'sio.>');
  const tab = await window.open('tab', '/');
  await connected(tab);
  const before = await idOf(tab);
  await tab.fill('#namespace', '/방.1');
  await tab.press('#namespace', 'Enter');
  await until('another socket', async () => ![before, '–'].includes(await idOf(tab)));
  await connected(tab);
  await tab.fill('#room', '.a b.*');
  await click(tab, '#join');
  await inRoom(tab, '.a b.*');
  await say(tab, 'x');
  const relayed = await seen.take('the message', (m) => m.subject.includes('.broadcast.'));
  assert.equal(relayed.subject, 'sio.방%2E1.broadcast.room.%2Ea%20b.%2A');
  assert.equal((await messages(tab)).at(-1).subject, relayed.subject);
  // By NATS, into that room.
  s.publish(nats, 'sio.방%2E1.emit.room.%2Ea%20b.%2A', '["message","found you"]');
  await hears(tab, 'found you');
});

browserScene('the server restarts: the tabs come back to their room', async (s, window) => {
  const [a, b] = [await window.open('a', '/'), await window.open('b', '/')];
  await enter(a, 'Ann', 'room');
  await enter(b, 'Bo', 'room');
  const before = await idOf(a);
  window.expected.push(/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket connection to/);
  await control('stop');
  for (const tab of [a, b]) {
    await tab.locator('#state:not([data-state=connected])').waitFor();
  }
  await window.screenshot('chat without server', a);
  await control('start');
  for (const tab of [a, b]) {
    await connected(tab);
    await inRoom(tab, 'room');
  }
  assert.notEqual(await idOf(a), before);
  await say(a, 'there you are');
  await hears(b, 'there you are');
  assert.match((await messages(a)).at(-1).subject, /\.broadcast\.room\.room$/);
});

browserScene('by keyboard alone, on a narrow screen, in the dark', async (s, window) => {
  const [a, b] = [await window.open('a', '/'), await window.open('b', '/')];
  await enter(b, 'Bo', 'quiet');
  await a.bringToFront();
  await a.setViewportSize({ width: 390, height: 844 });
  await a.emulateMedia({ colorScheme: 'dark' });
  await connected(a);
  await window.inspect('chat before it has joined', a, '#composer', '#text', '#send', '#join');

  const focused = (selector) => a.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector);
  const tabTo = async (selector, key = 'Tab') => {
    for (let presses = 0; presses < 30; presses++) {
      if (await focused(selector)) {
        return;
      }
      await a.keyboard.press(key);
    }
    assert.fail(`${selector} cannot be reached with ${key}`);
  };
  await tabTo('#name');
  await a.keyboard.type('Kit');
  await tabTo('#room');
  await a.keyboard.press('Control+A');
  await a.keyboard.type('quiet');
  await a.keyboard.press('Enter');
  await inRoom(a, 'quiet');
  await until('the message has the focus', () => focused('#text'));
  await a.keyboard.type('by keyboard');
  await a.keyboard.press('Enter');
  await hears(b, 'by keyboard');
  await tabTo('#kind', 'Shift+Tab');
  await a.keyboard.press('ArrowDown');
  assert.equal(await a.inputValue('#kind'), 'everyone');
  await tabTo('#text');
  await a.keyboard.type('to all by keyboard');
  await a.keyboard.press('Enter');
  await hears(b, 'to all by keyboard');
  await say(b, `a long word: ${'m'.repeat(300)}`);
  await hears(a, 'a long word');

  // The newest message is one step back; from there the arrows go on.
  await a.bringToFront();
  await tabTo('#log summary', 'Shift+Tab');
  await a.keyboard.press('End');
  await a.keyboard.press('Enter');
  await a.locator('#log details[open]', { hasText: 'a long word' }).locator('.facts').waitFor();
  await a.keyboard.press('ArrowUp');
  assert.ok(await a.locator('#log summary:focus', { hasText: 'to all by keyboard' }).count() === 1);
  await window.inspect('chat with an open message', a, '#composer', '#text', '#send');

  // What is beside the messages has their place, and goes again.
  await tabTo('#more', 'Shift+Tab');
  await a.keyboard.press('Enter');
  await a.locator('#tail [data-subject]').first().waitFor();
  await window.inspect('chat beside', a, '#composer', '#text', '#send');
  await tabTo('#more', 'Shift+Tab'); // a wide screen has no such button
  await a.keyboard.press('Enter');
  await a.locator('#tail').waitFor({ state: 'hidden' });
  await tabTo('#change', 'Shift+Tab');
  await a.keyboard.press('Enter');
  await tabTo('#leave');
  await a.keyboard.press('Enter');
  await inNoRoom(a);
}, inspecting);
