// Tabs of a real browser, for scenes. Each complaint of a tab fails the scene, unless it was expected: errors on its
// console, exceptions, violations of its content security policy.

import { after, before } from 'node:test';
import { mkdir } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { assert, base, chromium, scene } from '../node/scene.mjs';

export * from '../node/scene.mjs';

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const patience = 30_000; // milliseconds

const axe = readFileSync(createRequire(new URL('../node/package.json', import.meta.url)).resolve('axe-core/axe.min.js'), 'utf8');
export const screens = [[1280, 800], [820, 1180], [390, 844]];
const closely = ['1280 light', '390 dark'];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.PARTYLINE_CHROMIUM, args: flags });
});
after(() => browser?.close());

// browserScene is a scene with a new window. open opens its tabs.
export function browserScene(name, play, timeout = 180_000) {
  scene(name, async (s) => {
    const window = new Window(s);
    try {
      await window.begin();
      await play(s, window);
      assert.deepEqual(window.complaints, [], 'what the tabs complained about');
    } catch (error) {
      await window.screenshot(`failed ${name}`).catch(() => {});
      throw error;
    } finally {
      await window.context.close();
    }
  }, { timeout });
}

class Window {
  complaints = [];
  expected = []; // regular expressions of complaints that are not failures

  constructor(s) {
    this.scene = s;
  }

  async begin() {
    this.context = await browser.newContext({
      viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ignoreHTTPSErrors: base.startsWith('https:'),
    });
    // To Chromium, the pages of serve come from an unknown network, so they could not reach loopback.
    await this.context.grantPermissions(['local-network-access']);
    this.context.setDefaultTimeout(patience);
    await this.context.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
    });
  }

  // open opens a tab, by default at the server under test. who is its name in the conversation.
  async open(who, url) {
    const page = await this.context.newPage();
    const complain = (text) => {
      this.scene.note(who, `! ${text}`);
      if (!this.expected.some((pattern) => pattern.test(text))) {
        this.complaints.push(`${who}: ${text}`);
      }
    };
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) {
        complain(message.text());
      }
    });
    page.on('pageerror', (error) => complain(String(error)));
    page.on('websocket', (ws) => {
      ws.on('framesent', ({ payload }) => this.scene.note(who, `→ ${shown(payload)}`));
      ws.on('framereceived', ({ payload }) => this.scene.note(who, `← ${shown(payload)}`));
      ws.on('close', () => this.scene.note(who, '· WebSocket closed'));
    });
    await page.goto(new URL(url, base).href);
    return page;
  }

  // serve serves a page of this folder, or a text, at the server's own origin, so that its script tag finds the client.
  async serve(path, html) {
    const body = html ?? readFileSync(new URL(path.slice(1), import.meta.url), 'utf8');
    await this.context.route(base + path, (route) => route.fulfill({ body, contentType: 'text/html; charset=utf-8' }));
  }

  // inspect looks at a tab on each screen, light and dark: axe-core, which takes seconds, finds nothing serious on two of
  // them (with PARTYLINE_BROWSER=all on all), nothing is wider than the screen, and the elements that selectors name are visible in full.
  async inspect(name, tab, ...selectors) {
    const before = tab.viewportSize();
    await tab.bringToFront();
    await tab.evaluate(axe);
    for (const [width, height] of screens) {
      for (const colorScheme of ['light', 'dark']) {
        await tab.setViewportSize({ width, height });
        await tab.emulateMedia({ colorScheme });
        const where = `${name} on ${width} × ${height}, ${colorScheme}`;
        if (closely.includes(`${width} ${colorScheme}`) || process.env.PARTYLINE_BROWSER === 'all') await this.#judge(where, tab);
        const scroll = await tab.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(scroll <= width, `${where}: it is ${scroll} px wide`);
        for (const selector of selectors) {
          const box = await tab.locator(selector).boundingBox();
          assert.ok(box && box.y >= 0 && box.y + box.height <= height && box.x >= 0 && box.x + box.width <= width,
            `${where}: ${selector} is not in sight: ${JSON.stringify(box)}`);
        }
      }
    }
    await tab.setViewportSize(before);
    await tab.emulateMedia({ colorScheme: 'light' });
  }

  // judge has axe-core look at a tab, and saves a picture of it.
  async #judge(where, tab) {
    await this.screenshot(where, tab);
    const { violations } = await tab.evaluate('axe.run({ resultTypes: ["violations"] })');
    const found = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
    assert.deepEqual(found, [], where);
  }

  // screenshot saves a picture of each tab, or of one.
  async screenshot(name, page) {
    const folder = process.env.PARTYLINE_SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    const pages = page ? [page] : this.context.pages();
    for (const [i, tab] of pages.entries()) {
      const number = pages.length > 1 ? `-${i + 1}` : '';
      await tab.screenshot({ path: join(folder, `${name.replace(/[^a-z0-9]+/gi, '-').toLowerCase()}${number}.png`) });
    }
  }
}

function shown(payload) {
  return typeof payload === 'string' ? payload.slice(0, 300) : `<${payload.length} bytes>`;
}
