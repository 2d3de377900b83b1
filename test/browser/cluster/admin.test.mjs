// The Admin UI of a gateway, with three edges: PARTYLINE_EDGES has their addresses, PARTYLINE_UI that of the gateway, and
// PARTYLINE_CONTROL kills the last edge.

import { assert, browserScene, control, Manager, until } from '../tabs.mjs';

const edges = process.env.PARTYLINE_EDGES.split(',');
const ui = process.env.PARTYLINE_UI;
const patience = 40_000; // milliseconds: an edge is found dead after 3.5 s, and unhealthy for the page after 10 more

browserScene('the Admin UI shows three edges and changes what it shows', async (s, window) => {
  const nats = await s.nats();
  const enter = async (who, edge, namespace) => {
    const socket = new Manager(edges[edge], { transports: edge === 1 ? ['polling'] : ['websocket'], reconnection: false }).socket(namespace);
    s.watch(who, socket);
    await s.hear(socket, 'connect');
    return socket;
  };
  const [ann, bob, carl] = [await enter('ann', 0, '/chat'), await enter('bob', 1, '/chat'), await enter('carl', 2, '/chat')];
  const dora = await enter('dora', 2, '/news');
  const [annID, bobID, carlID, doraID] = [ann, bob, carl, dora].map((socket) => socket.id);
  await s.request(nats, `sio.chat.join.socket.${annID}`, '["lobby"]');
  await s.request(nats, `sio.chat.join.socket.${carlID}`, '["lobby"]');

  const allowed = [ui, ...edges].map((url) => new URL(url).host);
  window.context.on('request', (request) => {
    if (!request.url().startsWith('data:') && !allowed.includes(new URL(request.url()).host)) {
      window.complaints.push(`a request to another host: ${request.url()}`);
    }
  });
  window.context.setDefaultTimeout(patience);
  window.expected.push(/is closed before the connection is established/); // when the page is refused during its upgrade

  // The login. The page knows where the edges are, and tries without a session first.
  const tab = await window.open('admin', `${ui}/ui/`);
  const dialog = tab.locator('.v-dialog--active');
  await dialog.getByText('Invalid credentials').waitFor();
  assert.equal(await dialog.getByLabel('Server URL').inputValue(), edges[0]);
  await dialog.getByLabel('Username').fill('ann');
  await dialog.getByLabel('Password').fill('a wrong one');
  await dialog.getByRole('button', { name: 'Connect' }).click();
  await until('the password is refused', async () => !(await dialog.getByRole('button').first().isDisabled()), patience);
  await dialog.getByText('Invalid credentials').waitFor();
  await window.screenshot('admin login', tab);
  await dialog.getByLabel('Password').fill('open sesame');
  await dialog.getByRole('button', { name: 'Connect' }).click();
  await dialog.waitFor({ state: 'detached' });

  // The dashboard: three servers, and the namespaces of all.
  const card = (title) => tab.locator('.v-card', { has: tab.locator('.v-card__title', { hasText: new RegExp(`^\\s*${title}`) }) });
  const cells = async (card) => (await card.locator('tbody tr').allInnerTexts()).map((text) => text.toLowerCase().split(/\s+/).filter(Boolean));
  const shows = (what, card, rows) => until(what, async () => {
    const found = await cells(card);
    return rows.every((row) => found.some((cells) => row.every((text, i) => cells[i] === text)));
  }, patience).catch(async (error) => { throw new Error(`${error.message} It shows ${JSON.stringify(await cells(card))}`); });
  await shows('three healthy servers', card('Servers'), [['healthy', '3', '100.0', '%'], ['unhealthy', '0']]);
  await shows('the namespaces', card('Namespaces'), [['/chat', '3'], ['/news', '1'], ['/admin', '1']]);
  await shows('the transports', card('Clients'), [['websocket', '4'], ['http', 'long-polling', '1']]);
  await window.screenshot('admin dashboard', tab);

  // The sockets of a namespace, on all edges.
  const open = async (name) => {
    await tab.locator('.v-navigation-drawer').getByText(name, { exact: true }).click();
    await tab.locator('.v-breadcrumbs', { hasText: new RegExp(`^\\s*${name}\\s*$`) }).waitFor();
    await until('no other view', async () => await tab.locator('.v-breadcrumbs').count() === 1);
  };
  const choose = (namespace) => until(`the namespace ${namespace}`, async () => { // again if the menu moves under the click
    const select = tab.locator('.v-main .v-select').first();
    await select.click();
    await tab.locator('.menuable__content__active').getByText(namespace, { exact: true }).click();
    return await select.locator('.v-select__selection').innerText() === namespace;
  }, patience);
  const row = (text) => tab.locator('.v-main tbody tr', { hasText: text });
  await open('Sockets');
  await choose('/chat');
  for (const id of [annID, bobID, carlID]) {
    await row(id).waitFor();
  }
  await window.screenshot('admin sockets', tab);

  // A join.
  await row(bobID).click();
  await tab.locator('.v-breadcrumbs', { hasText: 'Socket details' }).waitFor();
  await tab.getByLabel('Join a room').fill('vip');
  await tab.getByLabel('Join a room').press('Tab');
  await tab.locator('.v-main form button[type=submit]').click();
  await tab.locator('.v-main tbody tr', { hasText: /^\s*vip\s*$/ }).waitFor();
  const [, { rooms }] = (await s.request(nats, `sio.chat.fetch.socket.${bobID}`, '')).json();
  assert.deepEqual(rooms, ['vip']);
  assert.match(await tab.locator('.v-main').innerText(), /HTTP long-polling/);

  // The rooms.
  await open('Rooms');
  await until('both rooms', async () => {
    const texts = (await tab.locator('.v-main tbody tr').allInnerTexts()).map((text) => text.toLowerCase().split(/\s+/).filter(Boolean).join(' '));
    return texts.includes('lobby public 2') && texts.includes('vip public 1');
  }, patience);
  await window.screenshot('admin rooms', tab);

  // A disconnect.
  await open('Sockets');
  await row(annID).locator('button').click();
  assert.deepEqual(await s.hear(ann, 'disconnect'), ['io server disconnect', undefined]);
  await tab.locator('.v-breadcrumbs', { hasText: 'Socket details' }).waitFor(); // a click on the button is one on its row
  await tab.locator('.v-main').getByText('disconnected').first().waitFor();
  await open('Sockets');
  await row(bobID).waitFor();
  await row(annID).waitFor({ state: 'detached' });

  // An edge dies: its sockets disappear, and the page calls it unhealthy until someone removes it.
  await control('kill');
  await row(carlID).waitFor({ state: 'detached' });
  await row(bobID).waitFor();
  await choose('/news');
  await row(doraID).waitFor({ state: 'detached' });
  await open('Dashboard');
  await shows('one unhealthy server', card('Servers'), [['healthy', '2'], ['unhealthy', '1']]);
  await shows('the sockets that are left', card('Namespaces'), [['/chat', '1'], ['/news', '0']]);
  await open('Servers');
  await row('Unhealthy').waitFor();
  await window.screenshot('admin servers', tab);
  await row('Unhealthy').locator('button').click();
  await until('two servers', async () => await row(/\bHealthy/).count() === 2 && await row('Unhealthy').count() === 0, patience);

  // After a reload the session counts.
  await tab.reload();
  await until('two servers again', async () => await row(/\bHealthy/).count() === 2, patience);
  assert.equal(await dialog.count(), 0);
}, 180_000);
