/** The README's examples and the command, as a stranger would run them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { chromium } from "playwright-core";
import { vectors } from "./vectors.js";

interface Vector {
  receipt: string;
  policy: string;
}

function vector(name: string): Vector {
  return vectors<Vector>("testdata/receipts").find(([n]) => n === name)![1];
}

/** A folder below this package, so that its name is found, with a receipt and a policy. */
function folder(t: TestContext, v: Vector): string {
  const dir = mkdtempSync("build/example-");
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "vm.tlog-proof"), v.receipt);
  writeFileSync(join(dir, "policy.txt"), v.policy);
  return dir;
}

/** A block of code of the README. */
function block(language: string): string {
  const [, rest] = readFileSync("README.md", "utf8").split("```" + language + "\n");
  return rest!.split("```")[0]!;
}

const run = (cwd: string, ...args: string[]) => spawnSync(process.execPath, args, { cwd, encoding: "utf8" });

test("the README's example for Node", (t) => {
  const dir = folder(t, vector("place-region.json"));
  writeFileSync(join(dir, "example.mjs"), block("js"));
  const { status, stdout, stderr } = run(dir, "example.mjs");
  assert.equal(status, 0, stderr);
  assert.match(stdout, /passed place gce\/us-central1/);
  assert.match(stdout, /logged; the evidence does not prove/);
});

test("the README's example of a dossier", (t) => {
  const [, v] = vectors<{ dossier: string; policy: string }>("testdata/dossiers").find(([n]) => n === "honest.json")!;
  const dir = folder(t, { receipt: vector("valid.json").receipt, policy: v.policy });
  writeFileSync(join(dir, "vm.dossier.json"), v.dossier);
  writeFileSync(join(dir, "example.mjs"), block("mjs"));
  const { status, stdout, stderr } = run(dir, "example.mjs");
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^refused /);
  assert.match(stdout, /intel:tdx:ppid:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a is in 3 entries/);
});

interface Standing extends Vector {
  dossier: string;
  pins: string;
  opening?: string;
}

/** A folder with a receipt, a dossier, and whom the reader believes. */
function pinned(t: TestContext, name: string): string {
  const v = vectors<Standing>("testdata/standing").find(([n]) => n === name)![1];
  const dir = folder(t, v);
  writeFileSync(join(dir, "vm.dossier.json"), v.dossier);
  writeFileSync(join(dir, "registrars.json"), v.pins);
  if (v.opening) writeFileSync(join(dir, "vm.opening.json"), v.opening);
  return dir;
}

test("the README's example of registrars", (t) => {
  for (const [name, said] of [["endorsed.json", /^logged vouched for\nintel:tdx:ppid:1a+.* alliance /], ["revoked-after.json", /^refused alliance objects/]] as const) {
    const dir = pinned(t, name);
    writeFileSync(join(dir, "example.mjs"), block("javascript"));
    const { status, stdout, stderr } = run(dir, "example.mjs");
    assert.equal(status, 0, stderr);
    assert.match(stdout, said);
  }
});

const BROWSER = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const skip = existsSync(BROWSER) ? false : `${BROWSER} is not installed; on Debian: apt-get install chromium`;

test("the README's example for a page", { skip }, async (t) => {
  const dir = pinned(t, "revoked-after.json");
  const files: Record<string, [string, string]> = {
    "/": ["text/html", block("html")],
    "/policy.txt": ["text/plain", readFileSync(join(dir, "policy.txt"), "utf8")],
    "/registrars.json": ["application/json", readFileSync(join(dir, "registrars.json"), "utf8")],
    "/poclog-verify.min.js": ["text/javascript", readFileSync("dist/poclog-verify.min.js", "utf8")],
  };
  const server = createServer((q, a) => {
    const f = files[q.url ?? ""];
    a.writeHead(f ? 200 : 404, { "content-type": f?.[0] ?? "text/plain" }).end(f?.[1]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox", "--disable-gpu"] });
  t.after(async () => {
    await browser.close();
    server.close();
  });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { waitUntil: "networkidle" });
  await page.setInputFiles("#receipt", join(dir, "vm.tlog-proof"));
  await page.waitForFunction(() => document.getElementById("out")?.textContent?.endsWith("logged"));
  await page.setInputFiles("#dossier", join(dir, "vm.dossier.json"));
  await page.waitForFunction(() => /refused standing alliance objects[^]*\nrefused$/.test(document.getElementById("out")?.textContent ?? ""));
});

const CLI = join(process.cwd(), "dist/cli.js");

test("the command says yes, no, usage and cannot tell", (t) => {
  const dir = folder(t, vector("valid.json"));
  const cli = (...args: string[]) => run(dir, CLI, ...args);
  const yes = cli("vm.tlog-proof", "--policy", "policy.txt");
  assert.equal(yes.status, 0, yes.stderr);
  assert.match(yes.stdout, /^PASS  vm.tlog-proof: logged, entry \d+ of log.test/);
  const json = JSON.parse(cli("vm.tlog-proof", "--policy", "policy.txt", "--json").stdout);
  assert.equal(json.v, 1);
  assert.equal(json.outcome, "logged");
  assert.equal(cli("vm.tlog-proof", "--policy", "policy.txt", "--realm", "lab").status, 1);
  for (const bad of [[], ["vm.tlog-proof"], ["vm.tlog-proof", "--policy", "policy.txt", "--max-age", "x"], ["vm.tlog-proof", "--policy", "policy.txt", "--nonsense"]]) {
    assert.equal(cli(...bad).status, 2, bad.join(" "));
  }
  assert.equal(cli("none", "--policy", "policy.txt").status, 3);
});

test("the command tells contradictions, dossiers and split views from receipts", (t) => {
  const contradiction = (name: string) => vectors<{ contradiction: string; policy: string }>("testdata/contradictions").find(([n]) => n === name)![1];
  const told = (receipt: string, policy: string, ...args: string[]) => run(folder(t, { receipt, policy }), CLI, "vm.tlog-proof", "--policy", "policy.txt", ...args);
  const of = (name: string, ...args: string[]) => told(contradiction(name).contradiction, contradiction(name).policy, ...args);
  const proven = of("interval-inverted.json", "--realm", "lab");
  assert.equal(proven.status, 0, proven.stderr + proven.stdout);
  assert.match(proven.stdout, /^PASS  vm.tlog-proof: is proven, by rule interval-inverted\n/);
  const seen = of("clone-ak.json", "--realm", "lab");
  assert.equal(seen.status, 1, seen.stderr + seen.stdout);
  assert.match(seen.stdout, /^FAIL  vm.tlog-proof: no contradiction, but an alert by rule ak-on-two-chips\n/);
  const evident = of("evidence-both.json", "--realm", "lab");
  assert.equal(evident.status, 3, evident.stderr + evident.stdout);
  assert.match(evident.stdout, /^UNDECIDED  vm.tlog-proof: only an appraisal could tell\n/);
  assert.equal(of("clone-ak.json", "--place", "gce").status, 2, "a demand that the file cannot answer");
  assert.equal(of("clone-ak.json", "--dossier", "vm.tlog-proof").status, 2, "a dossier beside another file than a receipt");
  const dossier = (name: string) => vectors<{ dossier: string; policy: string }>("testdata/dossiers").find(([n]) => n === name)![1];
  const complete = told(dossier("honest.json").dossier, dossier("honest.json").policy);
  assert.equal(complete.status, 0, complete.stderr + complete.stdout);
  assert.match(complete.stdout, /^PASS  vm.tlog-proof: complete below entry \d+ of log.test\/2026, logged\n/);
  const clone = told(dossier("clone.json").dossier, dossier("clone.json").policy);
  assert.equal(clone.status, 1);
  assert.match(clone.stdout, /contradiction chip-in-two-places: entries/);
  assert.equal(told(dossier("honest.json").dossier, dossier("honest.json").policy, "--covers", "config").status, 0);
  assert.match(told(dossier("honest.json").dossier, dossier("honest.json").policy, "--covers", "tpm:ak:none").stdout, /^FAIL .* names: /);
  assert.equal(told(dossier("honest.json").dossier, dossier("honest.json").policy, "--level", "0").status, 2);
});

test("the command asks registrars that the reader pins", (t) => {
  const cli = (name: string, ...args: string[]) => run(pinned(t, name), CLI, "vm.tlog-proof", "--policy", "policy.txt", "--dossier", "vm.dossier.json", "--registrars", "registrars.json", ...args);
  const yes = cli("endorsed.json", "--endorsed-by", "alliance@1");
  assert.equal(yes.status, 0, yes.stderr + yes.stdout);
  assert.match(yes.stdout, /yes endorsed-by +alliance vouches for intel:tdx:ppid:(1a)+/);
  assert.match(cli("endorsed.json", "--endorsed-by", "alliance@2").stdout, /^FAIL .*: endorsed-by: /);
  const revoked = cli("revoked-after.json");
  assert.equal(revoked.status, 1);
  assert.match(revoked.stdout, /^FAIL .*: standing: alliance objects/);
  assert.equal(cli("opened.json", "--endorsed-by", "alliance", "--opening", "vm.opening.json").status, 0);
  assert.equal(cli("opened.json", "--endorsed-by", "alliance").status, 1);
  assert.equal(cli("endorsed.json", "--endorsed-by", "alliance@7").status, 2);
  const dir = pinned(t, "endorsed.json");
  assert.equal(run(dir, CLI, "vm.tlog-proof", "--policy", "policy.txt", "--endorsed-by", "alliance").status, 2, "nobody is pinned");
  const all = run(dir, CLI, "vm.dossier.json", "--policy", "policy.txt", "--registrars", "registrars.json");
  assert.match(all.stdout, /intel:tdx:ppid:(1a)+: alliance says: /);
  const json = JSON.parse(run(dir, CLI, "vm.dossier.json", "--policy", "policy.txt", "--registrars", "registrars.json", "--json").stdout);
  assert.deepEqual(json.subjects[0].standings, []);
});
