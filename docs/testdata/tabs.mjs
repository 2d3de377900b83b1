// Tabs of a real browser, driven by lines of JSON on standard input: {open, url, state}, {tab, say}, {tab, shows},
// {tab, hides}, {tab, state}. Each is answered by a line: "ok", or what is wrong.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../test/node/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
});
const context = await browser.newContext();
context.setDefaultTimeout(Number(process.env.PATIENCE));
const tabs = {};

const line = (tab, text) => tabs[tab].locator('#log li').filter({ hasText: new RegExp(`^${text.replace(/[^\w ]/g, '\\$&')}$`) });

const says = (tab, state) => tabs[tab].getByText(state, { exact: true }).waitFor();

async function act({ open, url, tab, say, shows, hides, state }) {
  if (open) {
    tabs[open] = await context.newPage();
    await tabs[open].goto(url);
    await says(open, state ?? 'connected');
  } else if (say) {
    await tabs[tab].bringToFront(); // a background tab is slow
    await tabs[tab].locator('#text').fill(say);
    await tabs[tab].getByRole('button').click();
  } else if (state) {
    await says(tab, state);
  } else if (shows) {
    await line(tab, shows).waitFor();
  } else if (await line(tab, hides).count() > 0) {
    throw new Error(`${tab}'s tab shows ${hides}`);
  }
}

for await (const input of createInterface({ input: process.stdin })) {
  console.log(await act(JSON.parse(input)).then(() => 'ok', (error) => JSON.stringify(String(error))));
}
await browser.close();
