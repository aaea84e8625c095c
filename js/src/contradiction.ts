/** docs/format.md section 15: checking a contradiction. */
import { digest, fromHex, shown } from "./bytes.js";
import { parseContradiction, type Contradiction } from "./contradictionfile.js";
import { specificationOf, type Proof } from "./entry.js";
import { refuse } from "./errors.js";
import { includes, leafHash } from "./merkle.js";
import { audited, checkInterval, PROOF_STEPS, proveReceipt, type Proven } from "./proven.js";
import { LIMITS, NOT_REPRODUCIBLE, PAIRS, SINGLES, unseen, type Claim, type Finding, type Limits, type Severity } from "./rules.js";
import { absent, Steps, Stop, type Step } from "./steps.js";
import { AUDITORS, demandPolicy, type Policy } from "./tlogpolicy.js";

/** The newest appraisal specification. */
const APPRAISAL = 1;

export interface ContradictionQuestion {
  /** Default "production". */
  realm?: "production" | "lab";
  /** The least time to move a machine, in seconds. Default 24 hours. */
  moveTime?: number;
  /** The least time to replace a machine's TPM, in seconds. Default one hour. */
  swapTime?: number;
  /** The witness or group of the policy whose cosignatures make an entry audited. Default "auditors". */
  auditGroup?: string;
}

/** What a contradiction shows. */
export interface ContradictionVerdict {
  /**
   * "undecided": all that this module can check holds, but whether the rule finds anything depends
   * on an appraisal, and this module repeats none.
   */
  outcome: "refused" | "found" | "undecided";
  refused: Step | undefined;
  steps: Step[];
  rule: string | undefined;
  /** What the finding is worth as long as nobody repeats the appraisals. */
  severity: Severity | undefined;
  implicated: string[];
  /** What it is worth if the evidence in the file gives its entries. */
  ifReappraised: Finding | undefined;
  /** Logs whose evidence of an entry is not in the file, by origin. */
  withheld: string[];
  /** On whose word the entries stand: the weaker of both. "reappraised" where no evidence could give the leaf. */
  verdict: "logged" | "audited" | "reappraised" | undefined;
  entries: { origin: string; index: bigint }[];
}

/** A file on its way through the check. */
interface Checking {
  file: Contradiction;
  policy: Policy;
  steps: Steps;
  limits: Limits;
  realm: string;
  proven: Proven[];
  /** undefined: the leaf is malformed. */
  proofs: (Proof | undefined)[];
  /** Whether the file has all that each entry names. */
  whole: boolean[];
}

/** Checks a contradiction under the reader's policy. */
export function checkContradiction(file: Uint8Array, policy: Policy, question: ContradictionQuestion = {}): ContradictionVerdict {
  demandPolicy(policy);
  const limits = limitsOf(question);
  const steps = new Steps("format", "rule", "claims", "receipts", "reappraisal", "order", "realm");
  let c: Contradiction | undefined;
  let k: Checking | undefined;
  let found: Finding | undefined;
  try {
    c = steps.run("format", () => parseContradiction(file), (c) => `${c.rule}, ${c.claims.length} entries`);
    steps.run("claims", () => counted(c as Contradiction), () => `as many as ${c?.rule} takes`);
    k = { file: c, policy, steps, limits, realm: question.realm ?? "production", proven: [], proofs: [], whole: [] };
    for (const [i] of c.claims.entries()) open(k, i);
    found = find(k);
    steps.run("reappraisal", () => allBelongs(k as Checking), sayEvidence);
    steps.run("realm", () => ofRealm(k as Checking), () => k?.realm ?? "");
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  return verdict(steps, c, k, found, question.auditGroup ?? AUDITORS);
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
  if (!pair && c.claims[0]?.covered) refuse("order", "there is no other entry that its challenge could cover");
}

/** Makes the steps of a receipt; where one refuses, it refuses the file. */
function open(k: Checking, i: number): void {
  const own = new Steps(...PROOF_STEPS);
  try {
    const p = proveReceipt(k.file.claims[i]?.receipt as Uint8Array, k.policy, own, { anyLeaf: true });
    k.steps.run("receipts", () => p, () => `entry ${i + 1} is number ${p.index} of ${shown(p.origin)}`);
    k.proven.push(p);
    k.whole.push(p.entry?.kind === "proof" && filesOf(p.entry).every((f) => has(k.file, f)));
  } catch (e) {
    const refused = own.refused;
    if (refused) k.steps.run(refused.id, () => refuse(refused.id, `entry ${i + 1}: ${refused.detail}`), () => "");
    throw e;
  }
}

type File = Proof["evidence"]["bundle"];

function filesOf(p: Proof): File[] {
  const { bundle, envelope, collateral, policy } = p.evidence;
  return [bundle, envelope, collateral, policy].filter((f) => f !== undefined);
}

const has = (c: Contradiction, f: File) => (c.evidence ?? []).some((e) => e.length === f.size && digest(e) === f.sha256);

/** Makes the checks that the rule presumes, and runs it. undefined: it depends on an appraisal. */
function find(k: Checking): Finding | undefined {
  if (k.file.rule === NOT_REPRODUCIBLE) {
    return k.steps.run("rule", () => notReproducible(k), (f) => f?.severity ?? absent("depends on an appraisal, which is not repeated here"));
  }
  const pair = k.proven.length === 2;
  k.proven.forEach((p, i) => {
    k.steps.run("format", () => p.entry ?? refuse("format", `entry ${i + 1}: the leaf is malformed`), () => "well-formed");
    k.steps.run("claims", () => sound(k, p, i, pair), () => "proofs");
  });
  if (pair) k.steps.run("claims", () => comparable(k), () => "two entries of one realm, in order");
  const claims = k.steps.run("order", () => claimsOf(k), (l) => (l.some((c) => c.after) ? "one certainly came before the other" : absent("not claimed")));
  return k.steps.run("rule", () => apply(k, claims), (f) => f.severity);
}

function notReproducible(k: Checking): Finding | undefined {
  const p = k.proven[0] as Proven;
  const found: Finding = { severity: "contradiction", implicated: [`log:${shown(p.origin)}`] };
  if (p.entry === undefined) {
    const n = specificationOf(p.leaf);
    if (n === undefined || n > APPRAISAL) refuse("rule", "the leaf is of no specification that is known here");
    return found;
  }
  if (p.entry.kind !== "proof") return refuse("claims", `an entry of kind ${p.entry.kind}`);
  if (p.entry.appraisal > APPRAISAL) refuse("rule", `specification ${p.entry.appraisal} is not known here`);
  if (!k.whole[0]) refuse("reappraisal", "the file lacks the entry's evidence, or a part of it");
  k.proofs.push(p.entry);
  return undefined;
}

function sound(k: Checking, p: Proven, i: number, pair: boolean): void {
  if (p.entry?.kind !== "proof") return refuse("claims", `entry ${i + 1} is of kind ${p.entry?.kind}`);
  if (pair) checkInterval(p.entry, p);
  k.proofs.push(p.entry);
}

function comparable(k: Checking): void {
  const [a, b] = k.proven as [Proven, Proven];
  const one = a.origin === b.origin;
  if (one && a.index === b.index) refuse("claims", "one entry, twice");
  if (one ? a.index > b.index : a.origin > b.origin) refuse("claims", "the entries are out of order");
  if (k.proofs[0]?.realm !== k.proofs[1]?.realm) refuse("claims", "entries of two realms");
}

function claimsOf(k: Checking): Claim[] {
  return k.proven.map((p, i) => {
    const entry = k.proofs[i] as Proof;
    const covered = k.file.claims[i]?.covered;
    if (covered && !covers(entry, k.proven[1 - i] as Proven, covered)) {
      refuse("order", `entry ${i + 1}: the proof does not lead from the other entry to its challenge's root`);
    }
    return { origin: p.origin, index: p.index, t1: p.t1, t2: p.t2, entry, after: covered !== undefined };
  });
}

function covers(entry: Proof, other: Proven, covered: string[]): boolean {
  const fresh = entry.fresh;
  if (!fresh || fresh.origin !== other.origin) return false;
  return includes(leafHash(other.leaf), other.index, fresh.size, covered.map(fromHex), fromHex(fresh.root));
}

function apply(k: Checking, claims: Claim[]): Finding {
  const [a, b] = claims as [Claim, Claim | undefined];
  const found = b ? PAIRS[k.file.rule]?.(a, b, k.limits) : SINGLES[k.file.rule]?.(a);
  if (!found || found.severity === "information") return refuse("rule", `${k.file.rule} finds nothing`);
  return found;
}

/** Every file of evidence belongs to an entry all of whose files are there. */
function allBelongs(k: Checking): number {
  const used = new Set<string>();
  k.proofs.forEach((p, i) => p && k.whole[i] && filesOf(p).forEach((f) => used.add(f.sha256)));
  for (const f of k.file.evidence ?? []) {
    if (!used.has(digest(f))) refuse("reappraisal", `file ${digest(f)} belongs to no complete evidence`);
  }
  return used.size;
}

function sayEvidence(n: number) {
  return absent(n > 0 ? "the evidence is there; the appraisal is not repeated here" : "no evidence; the appraisal is not repeated");
}

function ofRealm(k: Checking): void {
  for (const p of k.proofs) if (p && p.realm !== k.realm) refuse("realm", `${p.realm}, asked for ${k.realm}`);
}

function verdict(steps: Steps, c: Contradiction | undefined, k: Checking | undefined, found: Finding | undefined, auditors: string): ContradictionVerdict {
  const { refused } = steps;
  const worth = refused ? undefined : found;
  const all = k && k.whole.every((w) => w);
  const withheld = (k?.proven ?? []).filter((_, i) => !k?.whole[i]).map((p) => shown(p.origin));
  const own = worth && unseen(worth);
  const byAuditors = k?.proven.every((p) => audited(p, k.policy, auditors));
  const malformed = c?.rule === NOT_REPRODUCIBLE && found;
  return {
    outcome: refused ? "refused" : worth ? "found" : "undecided",
    refused,
    steps: steps.all,
    rule: c?.rule,
    severity: own?.severity,
    implicated: own?.implicated ?? [],
    ifReappraised: all ? worth : undefined,
    withheld: refused ? [] : [...new Set(withheld)].sort(),
    verdict: refused ? undefined : malformed ? "reappraised" : byAuditors ? "audited" : "logged",
    entries: (k?.proven ?? []).map((p) => ({ origin: shown(p.origin), index: p.index })),
  };
}
