// Walks through pages as people do: node scripts/walk.mjs WALK..., each a list of JSON: an address, and steps. Each step is "choose SELECTOR FILE...", "drop FILE",
// "fill SELECTOR FILE", "type SELECTOR TEXT", "select SELECTOR VALUE", "click SELECTOR", "wait ATTRIBUTE" (of the
// body's data) or "see TEXT". Prints a line of JSON for each walk: the address and what was checked in the end, and before these whether a request had a body or the console an error. CHROMIUM names the browser.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });

async function walk(page, said, start, ...list) {
  page.on("console", (m) => m.type() === "error" && said.push(`console: ${m.text()}`));
  page.on("pageerror", (e) => said.push(`error: ${e}`));
  page.on("request", (r) => r.postData() !== null && said.push(`sent: ${r.method()} ${r.url()}`));
  page.setDefaultTimeout(120_000);
  const steps = {
    choose: (selector, ...files) => page.setInputFiles(selector, files),
    drop: async (file) => {
      const data = await page.evaluateHandle(([octets, name]) => {
        const t = new DataTransfer();
        t.items.add(new File([Uint8Array.from(octets)], name));
        return t;
      }, [[...readFileSync(file)], basename(file)]);
      await page.dispatchEvent("main", "drop", { dataTransfer: data });
    },
    fill: (selector, file) => page.fill(selector, readFileSync(file, "latin1")),
    type: (selector, text) => page.fill(selector, text),
    select: (selector, value) => page.selectOption(selector, value),
    click: (selector) => page.click(selector),
    wait: (name) => page.waitForFunction((n) => document.body.dataset[n] !== undefined, name),
    see: (text) => page.waitForSelector(`text=${text}`),
  };
  await page.goto(start);
  for (const step of list) {
    const [what, ...args] = step.split(" ");
    try {
      await steps[what](...(what === "see" || what === "click" ? [args.join(" ")] : args));
    } catch (e) {
      said.push(`at ${page.url()}: ${step}: ${await page.innerText("main")}: ${e}`);
      return;
    }
  }
  await page.waitForLoadState();
  const [outcome, step, again] = await page.evaluate(() => {
    const { outcome = "", again } = document.body.dataset;
    return [outcome, document.querySelector(".steps .refused code")?.textContent, again && `Go: ${again}`].map((s) => s ?? "");
  });
  said.push([new URL(page.url()).pathname, outcome, step, again].filter((s) => s !== "").join(" "));
}

try {
  for (const arg of process.argv.slice(2)) {
    const page = await browser.newPage();
    const said = [];
    await walk(page, said, ...JSON.parse(arg));
    console.log(JSON.stringify(said.join("\n")));
    await page.close();
  }
} finally {
  await browser.close();
}
