// The page of examples/node-chat, with two instances. Where PARTYLINE_SITE is not set, none of them is killed.

import { assert, browserScene, until } from '../browser/tabs.mjs';
import { deploy } from './deploy.mjs';

const site = process.env.PARTYLINE_SITE;
const hears = (tab, text) => tab.locator('#messages li', { hasText: text }).waitFor();

async function enter(window, name, url) {
  const tab = await window.open(name, url);
  await tab.locator('#state', { hasText: 'connected' }).waitFor();
  await tab.fill('#name', name);
  await tab.click('#door button');
  await hears(tab, 'You have joined.');
  return tab;
}

async function say(tab, text) {
  await tab.bringToFront();
  await tab.fill('#text', text);
  await tab.press('#text', 'Enter');
}

browserScene('a conversation, on the page of one instance', async (s, window) => {
  const url = process.env.PARTYLINE_PAGE;
  const [ann, bob] = [await enter(window, 'Ann', url), await enter(window, 'Bob', url)];
  await hears(ann, 'Bob has joined.');
  await ann.fill('#text', 'Good');
  await bob.locator('#typing', { hasText: 'Ann is typing' }).waitFor();
  await say(ann, 'Good morning!');
  await hears(bob, 'Ann: Good morning!');
  await hears(ann, 'Ann: Good morning!');
  await ann.locator('#state', { hasText: 'sent at' }).waitFor(); // the ack
  await window.screenshot('example node-chat', bob);

  const cleo = await enter(window, 'Cleo', url);
  await bob.bringToFront();
  await bob.locator('#messages button', { hasText: 'Ann' }).click();
  await say(bob, 'psst');
  await hears(ann, 'Bob: psst (to you alone)');
  await say(bob, 'aloud again');
  await hears(cleo, 'Bob: aloud again');
  assert.equal(await cleo.locator('#messages li', { hasText: 'psst' }).count(), 0);

  await bob.click('#leave');
  await hears(ann, 'Bob has left.');
  await say(ann, 'without Bob');
  await hears(cleo, 'Ann: without Bob');
  await cleo.close();
  await hears(ann, 'Cleo has left.');
  assert.equal(await bob.locator('#messages li', { hasText: 'without Bob' }).count(), 0);
});

async function replace(s, window) {
  const names = ['Ann', 'Bob', 'Cleo', 'Dave'];
  const tabs = [];
  for (const name of names) {
    tabs.push(await enter(window, name, site));
  }
  let lost = 0;
  for (const tab of tabs) {
    tab.on('websocket', () => { lost++; }); // a new connection
    await tab.evaluate(() => { socket.on('disconnect', () => { document.title = 'lost'; }); });
  }
  // Everybody says something, until all hear it: what was under way to an instance that is killed is lost.
  const everybodyTalks = async (when) => {
    for (const [i, tab] of tabs.entries()) {
      let n = 0;
      await until(`${names[i]} is heard ${when}`, async () => {
        await say(tab, `${when} ${n++}`);
        const heard = await Promise.all(tabs.map((other) => other.locator('#messages li', { hasText: `${names[i]}: ${when}` }).count()));
        return heard.every((count) => count > 0);
      });
    }
  };
  await everybodyTalks('before');
  await deploy('kill', 'one');
  await everybodyTalks('after the kill');
  await deploy('start', 'one');
  await deploy('stop', 'two');
  await everybodyTalks('after the stop');
  await deploy('start', 'two');
  assert.equal(lost, 0);
  for (const tab of tabs) {
    assert.equal(await tab.title(), 'Chat');
  }
}

if (site) {
  browserScene('an instance is killed, and one is replaced, and no page notices', replace);
}
