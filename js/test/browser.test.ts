/**
 * The bundled file in a page of headless Chromium: it says what Node says, of every vector and of
 * files that were changed at random. CHROMIUM names the browser.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { build } from "esbuild";
import { chromium, type Page } from "playwright-core";
import { answer, type Answer, type Asked } from "./answer.js";
import { vectors } from "./vectors.js";

const BROWSER = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

const PAGE = `<!doctype html><meta charset="utf-8"><title>poclog-verify</title>
<script type="importmap">{"imports":{"poclog-verify":"/poclog-verify.min.js"}}</script>
<script type="module">import { answer } from "/answer.js"; window.ask = (all) => all.map(answer);</script>`;

/** Serves the page, the bundle as it is shipped, and what asks it. */
async function serve(): Promise<Server> {
  const asks = await build({
    entryPoints: ["build/answer.js"], bundle: true, format: "esm", external: ["poclog-verify"], write: false, logLevel: "warning",
  });
  const files: Record<string, [type: string, body: string | Buffer]> = {
    "/": ["text/html", PAGE],
    "/poclog-verify.min.js": ["text/javascript", readFileSync("dist/poclog-verify.min.js")],
    "/answer.js": ["text/javascript", asks.outputFiles[0]?.text ?? ""],
  };
  const server = createServer((request, response) => {
    const file = files[request.url ?? ""];
    response.writeHead(file ? 200 : 404, { "content-type": file?.[0] ?? "text/plain" }).end(file?.[1]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

const base64 = (s: string) => Buffer.from(s).toString("base64");

interface Standing {
  receipt: string;
  dossier: string;
  policy: string;
  pins: string;
  demands?: Record<string, unknown>;
  endorsed_by?: string[];
  opening?: string;
  time: string;
}

function questions(): Asked[] {
  const all: Asked[] = [];
  for (const [, v] of vectors<{ format: string; input: string }>("testdata/formats")) {
    all.push({ op: "format", format: v.format.replace(/^[a-z]+-entry$/, "entry"), file: base64(v.input) });
  }
  for (const [, v] of vectors<{ policy: string }>("testdata/tlogpolicy")) {
    all.push({ op: "format", format: "tlogpolicy", file: base64(v.policy) });
  }
  for (const [, v] of vectors<{ receipt: string; policy: string; time: string }>("testdata/receipts")) {
    all.push({ op: "receipt", file: base64(v.receipt), policy: base64(v.policy), time: v.time });
  }
  for (const [, v] of vectors<{ contradiction: string; policy: string; realm?: "lab" }>("testdata/contradictions")) {
    all.push({ op: "contradiction", file: base64(v.contradiction), policy: base64(v.policy), ...(v.realm ? { realm: v.realm } : {}) });
  }
  for (const [, v] of vectors<{ dossier: string; policy: string; time: string; demands: { since?: string } }>("testdata/dossiers")) {
    const demands = v.demands.since ? { since: v.demands.since } : {};
    all.push({ op: "dossier", file: base64(v.dossier), policy: base64(v.policy), time: v.time, demands });
  }
  for (const [, v] of vectors<{ receipt: string; dossiers: string[]; policy: string; time: string }>("testdata/stapled")) {
    all.push({ op: "stapled", file: base64(v.receipt), dossiers: v.dossiers.map(base64), policy: base64(v.policy), time: v.time });
  }
  for (const [, v] of vectors<Standing>("testdata/standing")) {
    const demands = { ...(v.demands ?? { level: 0 }), ...(v.endorsed_by ? { endorsedBy: v.endorsed_by } : {}) };
    const openings = v.opening ? [base64(v.opening)] : [];
    all.push({ op: "standing", file: base64(v.receipt), dossiers: [base64(v.dossier)], policy: base64(v.policy), pins: base64(v.pins), openings, time: v.time, demands });
  }
  return [...all, ...all.flatMap(changed)];
}

/** A question about a file of which one octet is another: always the same one. */
function changed(q: Asked, i: number): Asked[] {
  const file = Buffer.from(q.file, "base64");
  if (file.length === 0) return [];
  const at = (i * 2654435761) % file.length;
  file[at] = ((file[at] as number) + 1 + (i % 254)) % 256;
  return [{ ...q, file: file.toString("base64") }];
}

declare global {
  var ask: (all: Asked[]) => Answer[];
}

async function inPage(page: Page, all: Asked[]): Promise<Answer[]> {
  const out: Answer[] = [];
  for (let i = 0; i < all.length; i += 50) {
    out.push(...(await page.evaluate((some) => globalThis.ask(some), all.slice(i, i + 50))));
  }
  return out;
}

const skip = existsSync(BROWSER) ? false : `${BROWSER} is not installed; on Debian: apt-get install chromium`;

test("in a page of Chromium the bundle says what Node says", { skip }, async () => {
  const server = await serve();
  const browser = await chromium.launch({ executablePath: BROWSER, args: FLAGS });
  try {
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on("pageerror", (e) => faults.push(String(e)));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.waitForFunction(() => globalThis.ask !== undefined);
    const all = questions();
    const there = await inPage(page, all);
    all.forEach((q, i) => assert.deepEqual(there[i], answer(q), `${q.op} ${q.format ?? ""}`));
    assert.deepEqual(faults, []);
    const passed = (op: string) => there.filter((a, i) => all[i]?.op === op && a.outcome.startsWith("logged")).length;
    assert.ok(passed("receipt") > 20, "hardly a receipt passes");
    assert.ok(passed("dossier") > 5, "hardly a dossier passes");
    assert.ok(passed("standing") > 10, "hardly a receipt with pinned registrars passes");
  } finally {
    await browser.close();
    server.close();
  }
});
