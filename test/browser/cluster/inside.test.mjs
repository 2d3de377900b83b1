// The Admin UI of the gateway inside cmd/embedded, which needs no login on loopback. PARTYLINE_UI is its address.

import { browserScene } from '../tabs.mjs';

browserScene('the Admin UI of embedded opens without a login', async (s, window) => {
  const ann = await s.connected('ann', '/chat');
  window.context.setDefaultTimeout(40_000);
  const tab = await window.open('admin', `${process.env.PARTYLINE_UI}/ui/`);
  await tab.locator('.v-card', { hasText: 'Namespaces' }).locator('tbody tr', { hasText: /\/chat\s*1/ }).waitFor();
  await tab.locator('.v-navigation-drawer').getByText('Clients', { exact: true }).click();
  await tab.locator('.v-main tbody tr button').first().waitFor(); // not read-only
  ann.disconnect();
}, 120_000);
