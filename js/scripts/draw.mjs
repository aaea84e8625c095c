// Draws pages: node scripts/draw.mjs DIR WIDTHS NAME=URL... writes NAME-WIDTH.png for each of the widths, such as 360,1280. Among the widths, dark is NAME-dark.png
// and print is NAME.pdf. Prints errors of the console, and fails on them. CHROMIUM names the browser; NOSCRIPT has it run no JavaScript.
import { join } from "node:path";
import { chromium } from "playwright-core";

const [dir, widths, ...pages] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
let errors = 0;
try {
  const page = await browser.newPage({ javaScriptEnabled: process.env.NOSCRIPT === undefined });
  page.on("console", (m) => m.type() === "error" && ++errors && console.log(`${page.url()}: ${m.text()}`));
  for (const [, name, url] of pages.map((p) => /^([^=]*)=(.*)$/.exec(p))) {
    await page.goto(url);
    for (const width of widths.split(",")) {
      const path = join(dir, `${name}-${width}.png`);
      await page.emulateMedia({ colorScheme: width === "dark" ? "dark" : "light" });
      if (width === "print") {
        await page.pdf({ path: join(dir, `${name}.pdf`) });
        continue;
      }
      await page.setViewportSize({ width: width === "dark" ? 1280 : Number(width), height: 1400 });
      await page.screenshot({ path });
    }
  }
} finally {
  await browser.close();
}
process.exitCode = errors > 0 ? 1 : 0;
