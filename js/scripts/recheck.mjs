// Presses "Check again with the Go code" on verifier pages: node scripts/recheck.mjs URL... Prints, of each, what came of both. CHROMIUM names the browser.
import { chromium } from "playwright-core";

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
try {
  for (const url of process.argv.slice(2)) {
    const page = await browser.newPage();
    page.on("console", (m) => m.type() === "error" && console.log(`console: ${m.text()}`));
    page.on("pageerror", (e) => console.log(`error: ${e}`));
    await page.goto(url);
    await page.waitForFunction(() => document.body.dataset.outcome !== undefined, undefined, { timeout: 120_000 });
    await page.click("#again");
    await page.waitForFunction(() => document.body.dataset.again !== undefined, undefined, { timeout: 120_000 });
    console.log(await page.evaluate(() => `${document.body.dataset.outcome}; Go: ${document.body.dataset.again}`));
    await page.close();
  }
} finally {
  await browser.close();
}
