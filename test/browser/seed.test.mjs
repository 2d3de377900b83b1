// The well-known chat example, word for word, in two tabs.

import { assert, browserScene, control, until } from './tabs.mjs';

const state = (tab, text) => tab.locator('#state', { hasText: new RegExp(`^${text}$`) }).waitFor();
const said = (tab) => tab.locator('#messages li').allTextContents();

async function say(tab, text) {
  await tab.fill('#input', text);
  await tab.press('#input', 'Enter');
}

async function twoTabs(window, path) {
  await window.serve(path);
  const tabs = [await window.open('a', path), await window.open('b', path)];
  for (const tab of tabs) {
    await state(tab, 'connected');
  }
  return tabs;
}

for (const [path, token] of [['/seed.html', '_'], ['/seed-namespace.html', 'chat_room']]) {
  browserScene(`${path}: two tabs talk, and NATS joins in`, async (s, window) => {
    const nats = await s.nats();
    const heard = await s.service(nats, `sio.${token}.on.>`, (m) => (m.subject.endsWith('.on.question') ? '["an answer",42]' : undefined));
    const [a, b] = await twoTabs(window, path);
    await say(a, 'hello from a');
    await b.locator('#messages li', { hasText: 'hello from a' }).waitFor();
    await say(b, '안녕 🎉 <b>');
    await a.locator('#messages li', { hasText: '안녕 🎉 <b>' }).waitFor();
    const id = await a.evaluate('socket.id');
    const message = await heard.take('what a said', (m) => m.string() === '["message","hello from a"]');
    assert.equal(message.subject, `sio.${token}.on.message`);
    assert.equal(message.reply, `sio.${token}.emit.socket.${id}`);

    s.publish(nats, `sio.${token}.emit.all`, '["message","to all"]');
    s.publish(nats, `sio.${token}.emit.socket.${id}`, '["message","to a"]');
    await a.locator('#messages li', { hasText: 'to a' }).last().waitFor();
    await until('all messages', async () => (await said(a)).length === 3 && (await said(b)).length === 2);
    assert.deepEqual(await said(a), ['안녕 🎉 <b>', 'to all', 'to a']);
    assert.deepEqual(await said(b), ['hello from a', 'to all']);

    // In a room, by name. The response of a service is the ack.
    for (const tab of [a, b]) {
      assert.deepEqual(await tab.evaluate('socket.timeout(5000).emitWithAck("join", "room")'), { ok: true });
    }
    s.publish(nats, `sio.${token}.emit.room.room`, '["message","hi"]');
    for (const tab of [a, b]) {
      await tab.locator('#messages li', { hasText: /^hi$/ }).waitFor();
    }
    assert.equal(await a.evaluate('socket.timeout(5000).emitWithAck("question", 1)'), 'an answer');
    await window.screenshot(`seed ${token}`);
  });
}

browserScene('/seed-namespace.html: the tabs come back when the server does', async (s, window) => {
  const [a, b] = await twoTabs(window, '/seed-namespace.html');
  window.expected.push(/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket connection to/);
  await control('stop');
  for (const tab of [a, b]) {
    await state(tab, 'disconnected');
  }
  await control('start');
  for (const tab of [a, b]) {
    await state(tab, 'connected');
  }
  await say(a, 'still there?');
  await b.locator('#messages li', { hasText: 'still there?' }).waitFor();
});
