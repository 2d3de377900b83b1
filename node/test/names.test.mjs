import test from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const names = createRequire(import.meta.url)("../dist/names.js");
const table = JSON.parse(readFileSync(new URL("../../subjects/testdata/names.json", import.meta.url)));
const functions = {
  namespace: [names.namespaceToken, names.namespaceName],
  event: [names.eventTail, names.eventName],
  room: [names.roomTail, names.roomName],
};

test(`names are spelled as in the table of ${table.length} cases`, () => {
  for (const { kind, name, subject, repeat, error, comment } of table) {
    const [spell, read] = functions[kind];
    const long = (text, more) => (text === undefined ? undefined : text + (more ?? "").repeat(repeat?.times ?? 0));
    const [whole, spelled] = [long(name, repeat?.name), long(subject, repeat?.subject)];
    if (error) {
      assert.throws(() => (whole === undefined ? read(spelled) : spell(whole)), `${kind}: ${comment}`);
      continue;
    }
    assert.equal(spell(whole), spelled, `${kind}: ${comment}`);
    assert.equal(read(spelled), whole, `${kind}: ${comment}`);
  }
});

test("a room whose name no subject can have is hashed", () => {
  for (const name of ["x".repeat(513), ".a".repeat(20), "\ud800"]) {
    const hashed = names.roomOnWire(name);
    assert.match(hashed, /^~[0-9a-f]{64}$/);
    assert.equal(names.roomFromWire(hashed), name);
  }
  for (const name of ["", "a b", "~", "a.b", "메시지"]) {
    assert.equal(names.roomOnWire(name), name);
  }
});

test("patterns match as in the edge's configuration", () => {
  for (const [pattern, name, expected] of [
    ["/*", "/", true],
    ["*", "/a/b", true],
    ["/a", "/a", true],
    ["/a", "/ab", false],
    ["/t-*", "/t-1", true],
    ["/t-*-x", "/t-1-x", true],
    ["/t-*-x", "/t-x", false],
    ["/*a*b", "/xaxbab", true],
    ["/*ab*b", "/ab", false],
  ]) {
    assert.equal(names.matches(pattern, name), expected, `${pattern} ${name}`);
  }
});
