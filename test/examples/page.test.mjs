// The page of examples/chat.

import { assert, browserScene, control, until } from '../browser/tabs.mjs';
import { deploy } from './deploy.mjs';

const page = process.env.PARTYLINE_PAGE;
const inspecting = 180_000; // milliseconds for a scene that inspects a tab

async function enter(window, name) {
  const tab = await window.open(name, page);
  await tab.fill('#name', name);
  await tab.click('#enter');
  await tab.locator('#title', { hasText: 'lobby' }).waitFor();
  return tab;
}

const connected = (tab) => tab.locator('#state[data-state=connected]').waitFor();
const hears = (tab, text) => tab.locator('#log .text', { hasText: text }).waitFor();

async function say(tab, text) {
  await tab.bringToFront();
  await tab.fill('#text', text);
  await tab.press('#text', 'Enter');
}

browserScene('a conversation', async (s, window) => {
  const [ann, bob] = [await enter(window, 'Ann'), await enter(window, 'Bob')];
  await ann.locator('#people .who', { hasText: 'Bob' }).waitFor();
  await say(ann, 'Good morning! Has anybody seen the tea?');
  await hears(bob, 'the tea?');
  await say(bob, '<img src=x onerror="alert(1)"> is what I write, and what you read');
  await hears(ann, '<img src=x');
  assert.equal(await ann.locator('#log img').count(), 0);
  await say(bob, 'It is behind the biscuits.');
  await ann.bringToFront();
  await until('Bob is seen typing', async () => { // it is shown for three seconds, which a slow machine may miss
    await bob.locator('#text').pressSequentially('.');
    return (await ann.locator('#typing').textContent()) === 'Bob is typing …';
  });
  await window.inspect('example chat', ann, '#composer', '#text');

  // A room of its own, and a name that is taken.
  await ann.fill('#room', 'tea 茶');
  await ann.press('#room', 'Enter');
  await ann.locator('#title', { hasText: 'tea 茶' }).waitFor();
  await say(ann, 'alone here');
  await hears(ann, 'alone here');
  await say(bob, 'still in the lobby');
  await ann.locator('#conversations .unread', { hasText: '1' }).waitFor();
  window.expected.push(/400 \(Bad Request\)|closed before the connection is established/); // who is refused in the middle of an upgrade
  const third = await window.open('third', page);
  await third.fill('#name', 'ANN');
  await third.click('#enter');
  await third.locator('#door-problem', { hasText: 'somebody else has this name' }).waitFor();
  await window.inspect('example chat door', third, '#enter');
  await third.fill('#name', 'Cleo');
  await third.click('#enter');
  await hears(third, 'behind the biscuits');

  // To one person alone, in both directions.
  await third.click('#people .who:has-text("Bob")');
  await say(third, 'between us');
  await hears(third, 'between us');
  await bob.click('#conversations .person');
  await hears(bob, 'between us');
  await say(bob, 'I see');
  await hears(third, 'I see');

  // Another name; the others see it.
  await bob.click('#me');
  await bob.fill('#new-name', 'Robert');
  await bob.click('#rename button.primary');
  await bob.locator('#me', { hasText: 'Robert' }).waitFor();
  await third.click('#conversations .room:has-text("lobby")');
  await third.locator('#people .who', { hasText: 'Robert' }).waitFor();

  // A reload comes back under the same name, with what was said.
  await third.reload();
  await connected(third);
  await hears(third, 'still in the lobby');
  assert.equal(await third.locator('#me').textContent(), 'Cleo');
  await bob.close();
  await third.locator('#people .who', { hasText: 'Robert' }).waitFor({ state: 'detached' });
}, inspecting);

browserScene('somebody comes while a room is being joined', async (s, window) => {
  await window.context.addInitScript(() => { // what follows looks at WebSocket alone
    let official;
    const io = (url, options) => official(url, { ...options, transports: ['websocket'] });
    Object.defineProperty(globalThis, 'io', { get: () => io, set: (given) => { official = given; } });
  });
  let answer; // to Ann's join; it is overtaken by the event that Bob has come
  await window.context.routeWebSocket(/socket\.io/, (tab) => {
    tab.connectToServer().onMessage((frame) => {
      if (!answer && /^43\/chat_room,\d+\[\{"people"/.test(frame)) {
        answer = frame;
        return;
      }
      tab.send(frame);
      if (answer && String(frame).includes('["joined",')) {
        tab.send(answer);
      }
    });
  });
  const entering = enter(window, 'Ann');
  await until('the answer is held', () => answer);
  const [bob, ann] = await Promise.all([enter(window, 'Bob'), entering]);
  await ann.locator('#people .who', { hasText: 'Bob' }).waitFor();
  await bob.locator('#people .who', { hasText: 'Ann' }).waitFor();
});

browserScene('no service is there while the edge restarts, and then it comes', async (s, window) => {
  window.expected.push(/net::ERR_|WebSocket connection to .* failed/); // while the edge restarts
  const ann = await enter(window, 'Ann');
  const bob = await window.open('Bob', page); // one of the services has the page
  await deploy('stop', 'one');
  await deploy('stop', 'two');
  await control('stop');
  await control('start');
  await connected(ann); // she has recovered, and what she says waits
  await say(ann, 'is anybody there?');
  await bob.bringToFront();
  await bob.fill('#name', 'Bob');
  await bob.click('#enter');
  await bob.locator('#door-problem', { hasText: 'Waiting for the chat to answer' }).waitFor();
  await window.screenshot('example chat waiting', bob);
  await deploy('start', 'one');
  await deploy('start', 'two');
  for (const tab of [ann, bob]) {
    await connected(tab);
    await tab.locator('#problem').waitFor({ state: 'hidden' });
    await tab.locator('#people .who', { hasText: 'Bob' }).waitFor();
  }
  await say(bob, 'here we are');
  await hears(ann, 'here we are');
  await hears(bob, 'is anybody there?');
});

browserScene('the service is gone: lines are under way, and go out when it is back', async (s, window) => {
  const [ann, bob] = [await enter(window, 'Ann'), await enter(window, 'Bob')];
  await say(ann, 'all is well');
  await hears(bob, 'all is well');
  await ann.locator('#log .under-way').waitFor({ state: 'detached' });
  await deploy('stop', 'one');
  await deploy('stop', 'two');
  await say(ann, 'is it me?');
  await ann.locator('#log .under-way', { hasText: 'sending' }).waitFor();
  await ann.locator('#problem', { hasText: 'The chat does not answer just now' }).waitFor();
  await ann.locator('#state[data-state=waiting]').waitFor();
  await ann.locator('#log .under-way', { hasText: 'waits for the chat' }).waitFor();
  await window.inspect('example chat away', ann, '#composer', '#back');
  await deploy('start', 'one');
  await ann.bringToFront();
  await connected(ann);
  await ann.locator('#problem').waitFor({ state: 'hidden' });
  await hears(bob, 'is it me?');
  await ann.locator('#log .under-way').waitFor({ state: 'detached' });
  await say(ann, 'there you are');
  await hears(bob, 'there you are');
  for (const tab of [ann, bob]) {
    const texts = await tab.locator('#log .text').allTextContents();
    assert.deepEqual(texts.slice(-3), ['all is well', 'is it me?', 'there you are']);
  }
  await deploy('start', 'two');
}, inspecting);

// It ends while a tab may be between polling and WebSocket. The edge cannot see then that it has gone, and its name stays
// taken until the ping time-out: no other scene uses it.
browserScene('in two tabs: the first has a way back', async (s, window) => {
  const first = await enter(window, 'Tia');
  const key = await first.evaluate(() => sessionStorage.getItem('chat-key'));
  await window.context.addInitScript((it) => { sessionStorage.setItem('chat-key', it); }, key);
  const second = await enter(window, 'Tia');
  await first.bringToFront();
  await first.click('#back:has-text("Come back here")');
  await connected(first);
  await second.locator('#back', { hasText: 'Come back here' }).waitFor();
});

browserScene('the edge is killed, and each line is there once', async (s, window) => {
  window.expected.push(/net::ERR_|WebSocket connection to .* failed/); // while the edge starts
  const [ann, bob] = [await enter(window, 'Ann'), await enter(window, 'Bob')];
  const once = async (tab) => {
    await hears(tab, 'good night');
    const texts = await tab.locator('#log .text').allTextContents();
    assert.deepEqual(texts.slice(-2), ['good evening', 'good night']);
    assert.equal(new Set(texts).size, texts.length, texts.join('\n'));
  };
  await say(ann, 'good evening');
  await hears(bob, 'good evening');
  await control('kill');
  for (const tab of [ann, bob]) {
    await tab.locator('#state:not([data-state=connected])').waitFor();
  }
  await control('start');
  await connected(ann);
  await connected(bob);
  await say(bob, 'good night');
  await once(ann);
  await once(bob);
  await ann.locator('#people .who', { hasText: 'Ann' }).waitFor();
  await bob.reload();
  await connected(bob);
  await once(bob);
  await bob.locator('#people .who', { hasText: 'Ann' }).waitFor();
});

browserScene('on a phone, while the service is replaced', async (s, window) => {
  const [ann, bob] = [await enter(window, 'Ann'), await enter(window, 'Bob')];
  await ann.setViewportSize({ width: 390, height: 780 });
  let lost = 0;
  for (const tab of [ann, bob]) {
    tab.on('websocket', () => { lost++; }); // a new connection
  }
  await say(ann, 'before');
  await hears(bob, 'before');
  await deploy('stop', 'one');
  await say(bob, 'one is stopped');
  await hears(ann, 'one is stopped');
  await deploy('start', 'one');
  await deploy('stop', 'two');
  await say(ann, 'two is stopped: did you notice anything at all, with a line so long that it needs several rows on a phone?');
  await hears(bob, 'two is stopped');
  await say(bob, 'No.');
  await hears(ann, 'No.');
  await deploy('start', 'two');
  for (const tab of [ann, bob]) {
    await connected(tab);
  }
  assert.equal(lost, 0);
  await window.screenshot('example chat phone', ann);
  await bob.emulateMedia({ colorScheme: 'dark' });
  await window.screenshot('example chat dark', bob);
  const wider = await ann.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `the page is ${wider} pixels wider than a phone`);
});
