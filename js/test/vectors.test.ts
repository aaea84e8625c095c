import assert from "node:assert/strict";
import { test } from "node:test";
import {
  admitStatement, checkContradiction, checkDossier, checkIndexWrong, checkPublishers, checkReceipt, checkSplitView, nonce, parseAppraisalPolicy, parseBundle, parseChallenge,
  parseCollateral, parseContradiction, parseDossier, parseEntry, parseEnvelope, parseExceptions, parseIdentity, parseIndexWrong,
  parseOpening, parsePolicy, parseRegistrars, parseStatement, parseStatementEnvelope, parseStatementSubmission, parseSubmission, PoclogError, pin, findings,
  standings, type Demands, type Found, type Placed, type Registrar,
} from "poclog-verify";
import { saysOf, subjectsOf } from "./answer.js";
import { octets, vectors } from "./vectors.js";

interface Format {
  format: string;
  input: string;
  expect: string;
  nonce?: string;
}

const known = (leaf: Uint8Array) => {
  const e = parseEntry(leaf);
  if (e.kind === "unknown") throw new PoclogError("format", "a leaf of a kind or version that is unknown");
  return e;
};

const PARSERS: Record<string, (file: Uint8Array) => unknown> = {
  bundle: parseBundle,
  collateral: parseCollateral,
  challenge: parseChallenge,
  policy: parseAppraisalPolicy,
  entry: known,
  submission: parseSubmission,
  envelope: parseEnvelope,
  contradiction: parseContradiction,
  exceptions: parseExceptions,
  "config-entry": known,
  "index-entry": known,
  dossier: parseDossier,
  "index-wrong": parseIndexWrong,
  statement: parseStatement,
  "statement-envelope": parseStatementEnvelope,
  "statement-entry": known,
  "statement-submission": parseStatementSubmission,
  registrars: parseRegistrars,
  opening: parseOpening,
  identity: (file) => parseIdentity(new TextDecoder().decode(file)),
};

/** The step that refuses, or "ok". */
function outcome(f: () => unknown): string {
  try {
    f();
    return "ok";
  } catch (e) {
    if (e instanceof PoclogError) return e.step;
    throw e;
  }
}

test("formats", async (t) => {
  for (const [name, v] of vectors<Format>("testdata/formats")) {
    await t.test(name, () => {
      const parse = PARSERS[v.format];
      assert.ok(parse, `format ${v.format}`);
      assert.equal(outcome(() => parse(octets(v.input))) === "ok" ? "ok" : "refused", v.expect);
      if (v.nonce) assert.equal(nonce(parseChallenge(octets(v.input))), v.nonce);
    });
  }
});

interface ReceiptVector {
  receipt: string;
  policy: string;
  demands: Record<string, unknown>;
  time: string;
  expect: string;
  not_before?: string;
  not_after?: string;
}

/** Demands as the vectors name them. */
function demandsOf(d: Record<string, unknown>): Demands {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(d)) {
    const camel = name.split("_").map((w, i) => (i ? w.charAt(0).toUpperCase() + w.slice(1) : w)).join("");
    out[camel] = name === "measurement" ? Buffer.from(value as string, "base64").toString("hex") : value;
  }
  return out as Demands;
}

const iso = (t: bigint | undefined) => (t === undefined ? undefined : new Date(Number(t) * 1000).toISOString().replace(".000", ""));

test("receipts", async (t) => {
  for (const [name, v] of vectors<ReceiptVector>("testdata/receipts")) {
    await t.test(name, () => {
      const r = checkReceipt(octets(v.receipt), parsePolicy(v.policy), { now: new Date(v.time), ...demandsOf(v.demands) });
      assert.equal(r.refused?.id ?? r.outcome, v.expect, r.refused?.detail);
      if (r.refused) return;
      assert.equal(iso(r.notBefore), v.not_before);
      assert.equal(iso(r.notAfter), v.not_after);
    });
  }
});

test("tlog-policies", async (t) => {
  for (const [name, v] of vectors<{ policy: string; expect: string }>("testdata/tlogpolicy")) {
    await t.test(name, () => {
      try {
        parsePolicy(v.policy);
        assert.equal("ok", v.expect);
      } catch (e) {
        if (!(e instanceof PoclogError)) throw e;
        assert.equal(e.rule, v.expect, e.detail);
      }
    });
  }
});

interface ContradictionVector {
  contradiction: string;
  policy: string;
  realm?: "production" | "lab";
  expect: string;
}

test("contradictions", async (t) => {
  for (const [name, v] of vectors<ContradictionVector>("testdata/contradictions")) {
    await t.test(name, () => {
      const r = checkContradiction(octets(v.contradiction), parsePolicy(v.policy), v.realm ? { realm: v.realm } : {});
      // This module repeats no appraisal: where the vector's reader does, it says what that would give.
      const again = r.ifReappraised !== undefined && v.expect.includes("reappraised");
      const f = again ? r.ifReappraised : r;
      const who = f?.implicated.join(" ") || "nobody";
      const word = again ? "reappraised" : r.verdict;
      assert.equal(r.refused ? `refused: ${r.refused.id}` : `${f?.severity} ${word}: ${who}`, v.expect, r.refused?.detail);
    });
  }
});

interface FindingVector {
  severity: string;
  rule: string;
  subject?: string;
  implicated?: string[];
}

const findingOf = (f: Found): FindingVector => ({
  severity: f.severity, rule: f.rule, ...(f.subject === undefined ? {} : { subject: f.subject }), ...(f.implicated.length > 0 ? { implicated: f.implicated } : {}),
});

interface RuleVector {
  claims: { origin: string; number: string; leaf: string; t1?: string; t2?: string; rooted?: boolean }[];
  expect: FindingVector[];
}

test("rules", async (t) => {
  for (const [name, v] of vectors<RuleVector>("testdata/rules")) {
    await t.test(name, () => {
      const at = (time: string | undefined) => (time === undefined ? undefined : BigInt(seconds(time)));
      const claims = v.claims.map((c): Placed => {
        const entry = parseEntry(octets(c.leaf));
        if (entry.kind !== "proof") throw new Error(entry.kind);
        return { origin: c.origin, index: BigInt(c.number), entry, t1: at(c.t1), t2: at(c.t2), covers: c.rooted && entry.fresh ? entry.fresh.size : 0n };
      });
      assert.deepEqual(findings(claims).map(findingOf), v.expect ?? []);
    });
  }
});

interface DossierVector {
  dossier: string;
  policy: string;
  demands: { names?: string[]; verdict?: "audited"; max_age?: number; since?: string };
  time: string;
  expect: string;
  findings?: FindingVector[];
}

test("dossiers", async (t) => {
  for (const [name, v] of vectors<DossierVector>("testdata/dossiers")) {
    await t.test(name, () => {
      const { max_age, since, ...d } = v.demands;
      const question = { ...d, ...(max_age ? { maxAge: max_age } : {}), ...(since ? { since: new Date(since) } : {}) };
      const r = checkDossier(octets(v.dossier), parsePolicy(v.policy), { now: new Date(v.time), ...question });
      const worst = r.found.find((f) => f.severity === "contradiction") ?? r.found.find((f) => f.severity === "alert");
      const said = `${r.outcome}: ${worst ? `${worst.severity} ${worst.rule}` : "complete"}`;
      assert.equal(r.refused ? `refused: ${r.refused.id}` : said, v.expect, r.refused?.detail);
      assert.deepEqual(r.found.map(findingOf), v.findings ?? []);
    });
  }
});

test("receipts with dossiers", async (t) => {
  for (const [name, v] of vectors<ReceiptVector & { dossiers: string[] }>("testdata/stapled")) {
    await t.test(name, () => {
      const r = checkReceipt(octets(v.receipt), parsePolicy(v.policy), { now: new Date(v.time), dossiers: v.dossiers.map(octets) });
      assert.equal(r.refused?.id ?? r.outcome, v.expect, r.refused?.detail);
    });
  }
});

test("wrong indexes", async (t) => {
  for (const [name, v] of vectors<{ index_wrong: string; policy: string; expect: string }>("testdata/indexes-wrong")) {
    await t.test(name, () => {
      const r = checkIndexWrong(octets(v.index_wrong), parsePolicy(v.policy));
      assert.equal(r.refused ? `refused: ${r.refused.id}` : `${r.entry} is ${r.wrong}`, v.expect, r.refused?.detail);
    });
  }
});

interface SplitViewVector {
  split_view: string;
  policy: string;
  expect: string;
}

test("split views", async (t) => {
  for (const [name, v] of vectors<SplitViewVector>("testdata/splitviews")) {
    await t.test(name, () => {
      const r = checkSplitView(octets(v.split_view), parsePolicy(v.policy));
      assert.equal(r.refused?.id ?? "proven", v.expect, r.refused?.detail);
    });
  }
});

interface StatementVector {
  registrars: Registrar[];
  pins?: Registrar[];
  stated: { number: number; logged: string; envelope: string }[] | null;
  offered?: string;
  admit?: string;
  now: string;
  size: number;
  proof?: string;
  level: number;
  vouches: boolean;
  standing: object[] | null;
}

const seconds = (t: string) => Date.parse(t) / 1000;

test("statements", async (t) => {
  for (const [name, v] of vectors<StatementVector>("testdata/statements")) {
    await t.test(name, () => {
      const read = (e: string) => parseStatementEnvelope(octets(e));
      const stated = (v.stated ?? []).map((s) => ({ number: BigInt(s.number), logged: seconds(s.logged), bounded: true, envelope: read(s.envelope) }));
      const { origin, subject } = { origin: "log.test/2026", subject: "intel:tdx:ppid:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a" };
      const listed = pin(v.registrars);
      if (v.offered) assert.equal(outcome(() => admitStatement(read(v.offered as string), stated, origin, listed)), v.admit);
      const all = standings(stated, { origin, subject, registrars: v.pins ? pin(v.pins) : listed }, BigInt(v.size), seconds(v.now));
      assert.deepEqual(all.map(saysOf), v.standing ?? []);
      assert.equal(all.some((s) => s.vouches(v.proof === undefined ? undefined : seconds(v.proof), v.level)), v.vouches);
    });
  }
});

interface StandingVector {
  receipt: string;
  dossier: string;
  policy: string;
  pins: string;
  endorsed_by?: string[];
  demands?: { place?: string };
  opening?: string;
  time: string;
  expect: string;
  subjects: object[] | null;
}

test("receipts, dossiers and pinned registrars", async (t) => {
  for (const [name, v] of vectors<StandingVector>("testdata/standing")) {
    await t.test(name, () => {
      const policy = parsePolicy(v.policy);
      const common = { now: new Date(v.time), registrars: parseRegistrars(octets(v.pins)) };
      const r = checkReceipt(octets(v.receipt), policy, {
        ...common, ...(v.demands ?? { level: 0 }), dossiers: [octets(v.dossier)],
        ...(v.endorsed_by ? { endorsedBy: v.endorsed_by } : {}), ...(v.opening ? { openings: [parseOpening(octets(v.opening))] } : {}),
      });
      assert.equal(r.refused ? `refused: ${r.refused.id}` : "ok", v.expect, r.refused?.detail);
      assert.deepEqual(subjectsOf(checkDossier(octets(v.dossier), policy, common)), v.subjects ?? []);
    });
  }
});

interface PublisherVector {
  publishers?: unknown;
  bundle: string;
  envelope?: string;
  signers?: string[];
  expect: string;
}

test("publishers", async (t) => {
  for (const [name, v] of vectors<PublisherVector>("verify/vouch/dsse/testdata")) {
    await t.test(name, () => {
      const policy = octets(
        JSON.stringify(
          { v: 1, realm: "lab", admit: [{ profile: "tdx", level: 0, historical: true }], max_challenge_age: 60, roots: [], tcb: [], publishers: v.publishers ?? undefined },
          null,
          2,
        ) + "\n",
      );
      let signers: string[] = [];
      const got = outcome(() => (signers = checkPublishers(policy, octets(v.bundle), v.envelope ? octets(v.envelope) : undefined)));
      assert.equal(got, v.expect);
      if (got === "ok") assert.deepEqual(signers, v.signers ?? []);
    });
  }
});
