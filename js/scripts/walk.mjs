// Walks through pages as people do: node scripts/walk.mjs URL STEP... Each step is "choose SELECTOR FILE", "drop FILE", "fill SELECTOR TEXT", "click SELECTOR"
// or "wait ATTRIBUTE" (of the body's data). Prints the address and what was checked in the end, and whether a request had a body or the console an error.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage();
  page.on("console", (m) => m.type() === "error" && console.log(`console: ${m.text()}`));
  page.on("pageerror", (e) => console.log(`error: ${e}`));
  page.on("request", (r) => r.postData() !== null && console.log(`sent: ${r.method()} ${r.url()}`));
  page.setDefaultTimeout(Number(process.env.WALK_TIMEOUT ?? 120_000));
  const steps = {
    choose: (selector, file) => page.setInputFiles(selector, file),
    drop: async (file) => {
      const data = await page.evaluateHandle(([octets, name]) => {
        const t = new DataTransfer();
        t.items.add(new File([Uint8Array.from(octets)], name));
        return t;
      }, [[...readFileSync(file)], basename(file)]);
      await page.dispatchEvent("main", "drop", { dataTransfer: data });
    },
    fill: (selector, file) => page.fill(selector, readFileSync(file, "latin1")),
    click: (selector) => page.click(selector),
    wait: (name) => page.waitForFunction((n) => document.body.dataset[n] !== undefined, name),
    see: (text) => page.waitForSelector(`text=${text}`),
  };
  await page.goto(process.argv[2]);
  for (const step of process.argv.slice(3)) {
    const [what, ...args] = step.split(" ");
    try {
      await steps[what](...(what === "see" || what === "click" ? [args.join(" ")] : args));
    } catch (e) {
      console.log(`at ${page.url()}: ${step}: ${await page.innerText("main")}`);
      throw e;
    }
  }
  await page.waitForLoadState();
  const url = new URL(page.url());
  const step = await page.evaluate(() => document.querySelector(".steps .refused code")?.textContent ?? "");
  console.log([url.pathname, await page.evaluate(() => document.body.dataset.outcome ?? ""), step].filter((s) => s !== "").join(" "));
} finally {
  await browser.close();
}
