/** The verifier of the explorer's page is the one that these sources make. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

test("the explorer has the verifier that is built here", () => {
  const built = readFileSync("dist/page.min.js", "utf8");
  assert.ok(built.length > 50_000);
  assert.ok(readFileSync("../monitor/web/pages/verify.js", "utf8") === built, "monitor/web/pages/verify.js is another: run npm run page, and commit it");
});
