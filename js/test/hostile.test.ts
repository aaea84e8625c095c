import assert from "node:assert/strict";
import { test } from "node:test";
import * as poclog from "poclog-verify";
import { octets, vectors } from "./vectors.js";

type Parse = (file: Uint8Array) => unknown;

const PARSERS: Record<string, Parse> = {
  bundle: poclog.parseBundle,
  collateral: poclog.parseCollateral,
  challenge: poclog.parseChallenge,
  appraisalPolicy: poclog.parseAppraisalPolicy,
  entry: poclog.parseEntry,
  submission: poclog.parseSubmission,
  envelope: poclog.parseEnvelope,
  contradiction: poclog.parseContradiction,
  dossier: poclog.parseDossier,
  indexWrong: poclog.parseIndexWrong,
  splitView: poclog.parseSplitView,
  receipt: poclog.parseReceipt,
  policy: poclog.parsePolicy,
};

const policy = () => poclog.parsePolicy(vectors<{ policy: string }>("testdata/receipts").find(([n]) => n === "valid.json")![1].policy);

const HOSTILE: unknown[] = [
  undefined, null, 0, "", "text", {}, [], new Uint16Array(4), new Uint8Array(0), new Uint8Array(1 << 16),
  new Uint8Array(1 << 16).fill(255), octets("{".repeat(1 << 16)), octets("[".repeat(1 << 16)), octets("\n".repeat(1 << 16)),
  octets('{"v":1,"kind":"proof",' + '"a":'.repeat(1 << 12)), octets("c2sp.org/tlog-proof@v1\nextra \nindex 0\n\n"),
];

test("whatever a parser is given, it throws only its own error", () => {
  for (const [name, parse] of Object.entries(PARSERS)) {
    for (const h of HOSTILE) {
      try {
        parse(h as Uint8Array);
      } catch (e) {
        assert.ok(e instanceof poclog.PoclogError, `${name}: ${String(e)}`);
      }
    }
  }
});

test("whatever a check is given, it refuses", () => {
  const p = policy();
  for (const h of HOSTILE) {
    const file = h as Uint8Array;
    assert.equal(poclog.checkReceipt(file, p, { now: new Date(0) }).outcome, "refused");
    assert.equal(poclog.checkContradiction(file, p).outcome, "refused");
    assert.equal(poclog.checkSplitView(file, p).outcome, "refused");
    assert.equal(poclog.checkDossier(file, p, { now: new Date(0) }).outcome, "refused");
    assert.equal(poclog.checkIndexWrong(file, p).outcome, "refused");
  }
});

test("there is no verdict without a policy, a time and demands that can be meant", () => {
  const [, v] = vectors<{ receipt: string }>("testdata/receipts").find(([n]) => n === "valid.json")!;
  const check = (p: unknown, q: unknown) => () => poclog.checkReceipt(octets(v.receipt), p as poclog.Policy, q as poclog.Question);
  const now = new Date("2027-01-15T08:03:20Z");
  for (const none of [undefined, null, {}, { logs: [], quorum: "none" }, "quorum none\n"]) {
    assert.throws(check(none, { now }), poclog.PoclogError);
  }
  for (const q of [undefined, {}, { now: 0 }, { now: new Date(NaN) }]) assert.throws(check(policy(), q), poclog.PoclogError);
  for (const d of [{ max_age: 1 }, { maxAge: 0 }, { maxAge: 0.5 }, { level: 1 }, { realm: "" }, { require: [] }, { place: "gce/" }]) {
    const r = check(policy(), { now, ...d })();
    assert.equal(r.refused?.id, "demands", JSON.stringify(d));
  }
});

test("a policy that was not parsed is no policy", () => {
  const [, v] = vectors<{ receipt: string; policy: string }>("testdata/receipts").find(([n]) => n === "valid.json")!;
  const p = { ...poclog.parsePolicy(v.policy) };
  assert.throws(() => poclog.checkReceipt(octets(v.receipt), p, { now: new Date() }), poclog.PoclogError);
});

test("parsing takes time linear in the file", () => {
  const worst = (n: number) => [
    octets(`{"v":1,"bundle":"${"A".repeat(n)}`),
    octets(`{"v":1,"kind":"proof","appraisal":1,"profile":"${'\\"'.repeat(n / 2)}`),
    octets("c2sp.org/tlog-proof@v1\nextra " + "A".repeat(n)),
    octets("\n\n".repeat(n / 2)),
    octets('{"v":1,"index":"AA","checkpoint":"AA","names":[{"name":"config","proof":"AA","numbers":["1"' + ',"1"'.repeat(n / 4)),
    octets('{"v":1,"index":"AA","checkpoint":"AA","names":[{"name":"config","proof":"AA"}],"pages":[{"entries":[{"number":"1","leaf":' + "{".repeat(n)),
  ];
  const cpu = (files: Uint8Array[]) => {
    const start = process.cpuUsage();
    for (const f of files) for (const parse of Object.values(PARSERS)) try { parse(f); } catch { /* refused */ }
    const used = process.cpuUsage(start);
    return used.user + used.system;
  };
  cpu(worst(1 << 15));
  const small = cpu(worst(1 << 15));
  const large = cpu(worst(1 << 19));
  // Sixteen times the size: quadratic time would be 256 times as long.
  assert.ok(large < 100 * Math.max(small, 2000), `${small} µs, then ${large} µs`);
});

test("a dossier's demands that cannot be meant are refused", () => {
  const [, v] = vectors<{ dossier: string; policy: string; time: string }>("testdata/dossiers").find(([n]) => n === "honest.json")!;
  const check = (q: object) => () => poclog.checkDossier(octets(v.dossier), poclog.parsePolicy(v.policy), { now: new Date(v.time), ...q } as poclog.DossierQuestion);
  for (const q of [{ now: 0 }, { realm: "" }, { verdict: "reappraised" }, { names: "config" }, { maxAge: 0 }, { max_age: 60 }, { since: "2027-01-15" }]) {
    assert.throws(check(q), poclog.PoclogError, JSON.stringify(q));
  }
  assert.equal(check({})().outcome, "logged");
});

test("whatever octet of a dossier is another, nothing but a verdict comes of it", () => {
  const [, v] = vectors<{ dossier: string; policy: string; time: string }>("testdata/dossiers").find(([n]) => n === "honest-intervals.json")!;
  const policy = poclog.parsePolicy(v.policy);
  const file = octets(v.dossier);
  const want = poclog.checkDossier(file, policy, { now: new Date(v.time) });
  assert.equal(want.outcome, "logged");
  for (let i = 0; i < file.length; i += 41) {
    const changed = file.slice();
    changed[i] = (changed[i] as number) ^ 1;
    const got = poclog.checkDossier(changed, policy, { now: new Date(v.time) });
    if (!got.refused) assert.deepEqual(got.names, want.names, `octet ${i}`);
  }
});
