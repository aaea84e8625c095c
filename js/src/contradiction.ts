/** docs/format.md section 15: checking a contradiction. */
import { digest, fromHex, shown } from "./bytes.js";
import { parseContradiction, type Contradiction } from "./contradictionfile.js";
import type { Proof } from "./entry.js";
import { refuse } from "./errors.js";
import { includes, leafHash } from "./merkle.js";
import { PROOF_STEPS, proveReceipt, type Proven } from "./proven.js";
import { LIMITS, NOT_REPRODUCIBLE, PAIRS, SINGLES, type Claim, type Finding, type Limits, type Severity } from "./rules.js";
import { absent, Steps, Stop, type Step } from "./steps.js";
import { demandPolicy, type Policy } from "./tlogpolicy.js";

export interface ContradictionQuestion {
  /** Default "production". */
  realm?: "production" | "lab";
  /** The least time to move a machine, in seconds. Default 24 hours. */
  moveTime?: number;
  /** The least time to replace a machine's TPM, in seconds. Default one hour. */
  swapTime?: number;
}

export interface ContradictionVerdict {
  /**
   * "undecided": all that this module can check holds, but whether the rule finds anything depends
   * on an appraisal, and this module repeats none.
   */
  outcome: "refused" | "found" | "undecided";
  refused: Step | undefined;
  steps: Step[];
  rule: string | undefined;
  severity: Severity | undefined;
  implicated: string[];
  /** On whose word the entries stand: the weaker of both. */
  verdict: "logged" | "audited" | undefined;
  entries: { origin: string; index: bigint }[];
}

/** Checks a contradiction under the reader's policy. */
export function checkContradiction(file: Uint8Array, policy: Policy, question: ContradictionQuestion = {}): ContradictionVerdict {
  demandPolicy(policy);
  const limits = limitsOf(question);
  const steps = new Steps("format", "claims", "rule", "reappraisal", "order", "realm");
  const out: Partial<ContradictionVerdict> & { proven?: Proven[] } = {};
  try {
    const c = steps.run("format", () => parseContradiction(file), (c) => `${c.claims.length} entries`);
    out.rule = c.rule;
    steps.run("claims", () => counted(c), () => `as many as ${c.rule} takes`);
    out.proven = c.claims.map((claim, i) => proveClaim(claim.receipt, c.rule, policy, steps, i));
    judge(c, out.proven, question.realm ?? "production", limits, steps, out);
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  return verdict(steps, out);
}

function limitsOf(q: ContradictionQuestion): Limits {
  const seconds = (s: number | undefined, otherwise: bigint) => {
    if (s === undefined) return otherwise;
    if (!Number.isSafeInteger(s) || s < 1) refuse("demands", `${s} is no number of seconds`);
    return BigInt(s);
  };
  if (q.realm !== undefined && q.realm !== "production" && q.realm !== "lab") refuse("demands", `realm ${String(q.realm)}`);
  return { move: seconds(q.moveTime, LIMITS.move), swap: seconds(q.swapTime, LIMITS.swap) };
}

function counted(c: Contradiction): void {
  const pair = Object.hasOwn(PAIRS, c.rule);
  if (!pair && !Object.hasOwn(SINGLES, c.rule) && c.rule !== NOT_REPRODUCIBLE) refuse("rule", `${c.rule} is no rule`);
  if (c.claims.length !== (pair ? 2 : 1)) refuse("claims", `${c.rule} takes ${pair ? 2 : 1} entries`);
}

/** The steps of a receipt; where one refuses, it refuses the file. */
function proveClaim(receipt: Uint8Array, rule: string, policy: Policy, steps: Steps, i: number): Proven {
  const own = new Steps(...PROOF_STEPS);
  const anyInterval = rule in SINGLES || rule === NOT_REPRODUCIBLE;
  try {
    return proveReceipt(receipt, policy, own, { anyInterval });
  } catch (e) {
    const refused = own.refused;
    if (refused) steps.run(refused.id, () => refuse(refused.id, `entry ${i + 1}: ${refused.detail}`), () => "");
    throw e;
  }
}

function judge(c: Contradiction, proven: Proven[], realm: string, limits: Limits, steps: Steps, out: Partial<ContradictionVerdict>): void {
  const proofs = proven.map((p) => proofOf(p, c.rule, steps));
  steps.run("reappraisal", () => belongs(c, proofs), sayEvidence);
  steps.run("claims", () => ordered(proven, proofs), () => "in order, of one realm");
  const claims = steps.run("order", () => claimsOf(c, proven, proofs), (l) => (l?.some((x) => x.after) ? "one certainly came before the other" : absent("not claimed")));
  const found = steps.run("rule", () => apply(c.rule, claims, proven, proofs, limits), (f) => (f ? f.severity : absent("depends on an appraisal, which is not repeated here")));
  steps.run("realm", () => proofs.forEach((p) => p && p.realm !== realm && refuse("realm", `${p.realm}, asked for ${realm}`)), () => realm);
  out.severity = found?.severity;
  out.implicated = found?.implicated ?? [];
}

function proofOf(p: Proven, rule: string, steps: Steps): Proof | undefined {
  if (p.entry?.kind === "proof") return p.entry;
  if (p.entry === undefined && rule === NOT_REPRODUCIBLE) return undefined;
  return steps.run("claims", () => refuse(p.entry ? "claims" : "format", "the leaf is no proof"), () => "") as never;
}

/** Every file of evidence belongs to an entry all of whose files are there. */
function belongs(c: Contradiction, proofs: (Proof | undefined)[]): number {
  const files = new Set((c.evidence ?? []).map(digest));
  const wanted = new Set<string>();
  for (const p of proofs) {
    const { bundle, envelope, collateral, policy } = p?.evidence ?? {};
    const names = [bundle, envelope, collateral, policy].filter((f) => f !== undefined).map((f) => f.sha256);
    if (names.every((n) => files.has(n))) names.forEach((n) => wanted.add(n));
  }
  for (const f of files) if (!wanted.has(f)) refuse("reappraisal", `${f} belongs to no complete evidence`);
  return files.size;
}

function sayEvidence(n: number) {
  return n > 0 ? absent("evidence is there; the appraisal is not repeated here") : absent("no evidence; the appraisal is not repeated");
}

function ordered(proven: Proven[], proofs: (Proof | undefined)[]): void {
  const [a, b] = proven;
  if (!a || !b) return;
  const one = a.origin === b.origin;
  if (one && a.index === b.index) refuse("claims", "one entry, twice");
  if (one ? a.index > b.index : a.origin > b.origin) refuse("claims", "the entries are out of order");
  if (proofs[0]?.realm !== proofs[1]?.realm) refuse("claims", "entries of two realms");
}

function claimsOf(c: Contradiction, proven: Proven[], proofs: (Proof | undefined)[]): Claim[] {
  return proven.flatMap((p, i) => {
    const entry = proofs[i];
    const covered = c.claims[i]?.covered;
    if (covered && (!entry || !covers(entry, p, proven[1 - i], covered))) {
      refuse("order", "the proof does not lead to the challenge's root");
    }
    return entry ? [{ origin: p.origin, index: p.index, t1: p.t1, t2: p.t2, entry, after: covered !== undefined }] : [];
  });
}

function covers(entry: Proof, p: Proven, other: Proven | undefined, covered: string[]): boolean {
  const fresh = entry.fresh;
  if (!fresh || !other || fresh.origin !== other.origin || p.origin !== other.origin) return false;
  return includes(leafHash(other.leaf), other.index, fresh.size, covered.map(fromHex), fromHex(fresh.root));
}

function apply(rule: string, claims: Claim[], proven: Proven[], proofs: (Proof | undefined)[], limits: Limits): Finding | undefined {
  const [a, b] = claims;
  let found: Finding | undefined;
  if (rule === NOT_REPRODUCIBLE) {
    if (proofs[0]) return undefined;
    return { severity: "contradiction", implicated: [`log:${shown(proven[0]?.origin ?? "")}`] };
  }
  if (a && b) found = PAIRS[rule]?.(a, b, limits);
  else if (a) found = SINGLES[rule]?.(a);
  if (!found || found.severity === "information") return refuse("rule", `${rule} finds nothing`);
  return found;
}

function verdict(steps: Steps, out: Partial<ContradictionVerdict> & { proven?: Proven[] }): ContradictionVerdict {
  const refused = steps.refused;
  return {
    outcome: refused ? "refused" : out.severity ? "found" : "undecided",
    refused,
    steps: steps.all,
    rule: out.rule,
    severity: refused ? undefined : out.severity,
    implicated: refused ? [] : (out.implicated ?? []),
    verdict: refused || !out.proven ? undefined : out.proven.every((p) => p.audited) ? "audited" : "logged",
    entries: (out.proven ?? []).map((p) => ({ origin: shown(p.origin), index: p.index })),
  };
}
