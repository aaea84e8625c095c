// Runs axe on pages: node scripts/axe.mjs URL... Prints what is serious or critical, and fails on it. CHROMIUM names the browser.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
let found = 0;
try {
  const page = await browser.newPage({ bypassCSP: true, viewport: { width: 1280, height: 900 } });
  for (const url of process.argv.slice(2)) {
    await page.goto(url);
    await page.evaluate(axe);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
      for (const v of violations.filter((v) => ["serious", "critical"].includes(v.impact))) {
        found++;
        console.log(`${colorScheme} ${url}: ${v.id} (${v.impact}): ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`);
      }
    }
  }
} finally {
  await browser.close();
}
process.exitCode = found > 0 ? 1 : 0;
