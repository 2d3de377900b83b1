// deploy asks the test that started an example's instances to stop or start one by its name.

import { assert } from '../node/scene.mjs';

export async function deploy(action, instance) {
  const response = await fetch(`${process.env.PARTYLINE_DEPLOY}/${action}/${instance}`, { method: 'POST' });
  assert.equal(response.status, 200, `${action} ${instance}: ${await response.text()}`);
}
