// Plays test files with mocha, in a process of its own. run.mjs starts it with what to play as JSON in UPSTREAM_PLAY.
import { createRequire } from "node:module";
import { basename } from "node:path";
import Mocha from "mocha";

const require = createRequire(import.meta.url);
const { files, skipped, all, grep, retries } = JSON.parse(process.env.UPSTREAM_PLAY);
const { warmUp } = require("./edges.cjs");
const { nextTest, admitted } = require("./cluster.cjs");

/** How long a test may take, in milliseconds, as in the reference's own package.json. */
const timeout = 10_000;

/** testsOf returns all tests of a suite. */
function testsOf(suite) {
  return [...suite.tests, ...suite.suites.flatMap(testsOf)];
}

const mocha = new Mocha({ timeout, reporter: "spec", slow: 1e6, grep, retries });
files.forEach((file) => mocha.addFile(file));
await mocha.loadFilesAsync();

const tests = testsOf(mocha.suite);
const unknown = new Set(Object.keys(skipped));
for (const test of tests) {
  const title = test.fullTitle();
  unknown.delete(title);
  if (skipped[title] && !all) {
    test.pending = true;
  }
}
if (process.env.UPSTREAM_CLUSTER) {
  mocha.suite.beforeEach(nextTest);
  mocha.suite.suites.forEach((suite) => suite.beforeEach(admitted)); // behind the suite's own
}
await warmUp();

process.on("unhandledRejection", (reason) => {
  throw reason; // as mocha's own program does: then the test fails
});

const count = { passed: 0, failed: 0, skipped: 0 };
const wrong = [];
const runner = mocha.run(() => {
  if (!grep) {
    unknown.forEach((title) => console.log(`skipped.mjs: this version has no case: ${title}`));
  }
  wrong.forEach((text) => console.log(`skipped.mjs: ${text}`));
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  process.exit(count.failed + wrong.length > 0 ? 1 : 0);
});
runner.on("pass", (test) => {
  count.passed++;
  const why = skipped[test.fullTitle()];
  if (why && !why.startsWith("sometimes")) {
    wrong.push(`it passes: ${test.fullTitle()}`);
  }
});
runner.on("fail", (test) => {
  skipped[test.fullTitle()] ? count.skipped++ : count.failed++;
  console.log(`failed: ${basename(test.file ?? "")}: ${test.fullTitle()}: ${test.err?.message}`);
});
runner.on("pending", () => count.skipped++);
