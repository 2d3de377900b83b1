// The page with the namespaces of testdata/namespaces.yaml: it claims nothing that their rules do not have.

import { assert, browserScene, headers, until } from './tabs.mjs';

const connected = (tab) => tab.locator('#state[data-state=connected]').waitFor();

async function goTo(tab, namespace) {
  await tab.fill('#namespace', namespace);
  await tab.press('#namespace', 'Enter');
  await tab.locator('#rules-namespace', { hasText: namespace }).waitFor();
}

const offered = (tab) => tab.locator('#kind option').allTextContents();
const rules = (tab) => tab.locator('#rules').innerText();

// sends sends a message, and returns the subjects that the page claims.
async function sends(tab, event, text) {
  await tab.selectOption('#kind', event);
  await tab.fill('#text', text);
  await tab.press('#text', 'Enter');
  const entry = tab.locator('#log [data-direction=out]', { hasText: text });
  await entry.waitFor();
  return (await entry.getAttribute('data-subjects')).split(' ');
}

browserScene('rules with a room, relays, and a service that admits', async (s, window) => {
  window.expected.push(/400 \(Bad Request\)|closed before the connection is established/); // who is refused in the middle of an upgrade
  const nats = await s.nats();
  const seen = [];
  await s.service(nats, 'sio.>', (m) => { seen.push({ subject: m.subject, body: m.string() }); });
  const tab = await window.open('tab', '/');
  await connected(tab);
  assert.match(await rules(tab), /Everyone is admitted\.[^]*Clients may join room, lobby-\*\. All are in room\.[^]*message → your rooms; shout → all; whisper → one socket/);
  assert.deepEqual(await offered(tab), ['message → your rooms', 'shout → all others', 'whisper → one socket', 'in-room → the room that it names', 'any event …']);
  assert.equal(await tab.locator('#tail').count(), 0); // only the open mode has a live tail
  assert.equal((await fetch(new URL('/tail', tab.url()))).status, 404);
  const subjects = await sends(tab, 'shout', 'to all of them');
  assert.deepEqual(subjects, ['sio.chat_room.on.shout', 'sio.chat_room.broadcast.all']);
  await until('both messages', () => subjects.every((subject) => seen.some((m) => m.subject === subject && m.body === '["shout","to all of them"]')));

  // A room that the rules do not have.
  await tab.fill('#room', 'elsewhere');
  await tab.click('#join');
  await tab.locator('#problem', { hasText: 'clients cannot join “elsewhere” themselves' }).waitFor();

  // No relay rules at all: events are for services.
  await goTo(tab, '/names/x');
  await connected(tab);
  assert.deepEqual(await offered(tab), ['message → services', 'any event …']);
  assert.match(await rules(tab), /Nothing\. Events go to services only\./);
  assert.deepEqual(await sends(tab, 'message', 'only for services'), ['sio.names/x.on.message']);
  await until('the message', () => seen.some((m) => m.subject === 'sio.names/x.on.message'));
  assert.deepEqual(seen.filter((m) => m.body.includes('only for services')).map((m) => m.subject), ['sio.names/x.on.message']);

  await s.service(nats, 'sio.admitted.on.connect', (m) => {
    if (JSON.parse(m.string())[1].auth.token === 'x') {
      return '[{"rooms":["vip"]}]';
    }
    const refusal = headers();
    refusal.append('Sio-Error', 'say x');
    m.respond('[]', { headers: refusal });
    return undefined;
  });
  await goTo(tab, '/admitted');
  await tab.locator('#problem', { hasText: 'say x' }).waitFor();
  await tab.fill('#auth', '{"token": "x"}');
  await tab.press('#auth', 'Enter');
  await connected(tab);
  assert.match(await rules(tab), /A service decides who is admitted\./);
  await window.inspect('rules', tab, '#composer', '#text', '#send');
  await goTo(tab, '/missing');
  await tab.locator('#rules', { hasText: 'does not declare this namespace' }).waitFor();
  await tab.locator('#problem', { hasText: 'Invalid namespace' }).waitFor();
}, 180_000);
