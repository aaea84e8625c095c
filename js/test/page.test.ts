/** The scripts of the pages of logs and monitors are those that these sources make. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

for (const [name, asset, least] of [["page", "verify", 50_000], ["find", "find", 5_000]] as const) {
  test(`pages have the ${asset}.js that is built here`, () => {
    const built = readFileSync(`dist/${name}.min.js`, "utf8");
    assert.ok(built.length > least);
    const kept = `../internal/page/assets/${asset}.js`;
    assert.ok(readFileSync(kept, "utf8") === built, `${kept} is another: run npm run page, and commit it`);
  });
}
