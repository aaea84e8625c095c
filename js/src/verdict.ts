/** docs/format.md section 10: the verdict on a receipt. */
import type { Proof } from "./entry.js";
import { shown } from "./bytes.js";
import { agree, checkedDossier, clear, type Checked, type DossierQuestion, type DossierVerdict } from "./dossier.js";
import { checkDemands, DEMAND_STEPS, meetDemands, type Demands } from "./demands.js";
import { refuse } from "./errors.js";
import { audited, PROOF_STEPS, proveReceipt, type Proven } from "./proven.js";
import { absent, Steps, Stop, type Absent, type Step } from "./steps.js";
import { AUDITORS, demandPolicy, type Policy } from "./tlogpolicy.js";

/** What a reader asks, and when. */
export interface Question extends Demands {
  now: Date;
  /** The witness or group of the policy whose cosignatures make a receipt audited. Default "auditors". */
  auditGroup?: string;
  /** Dossiers of logs, each of another. That of the receipt's log, which must be there, must clear the receipt; the others must agree with it. */
  dossiers?: Uint8Array[];
  /** From when on the dossiers must list all entries. Left out: from the first. Realm, verdict and maxAge hold for them, too. */
  since?: Date;
}

/** What came of a check. There is no yes without its steps, and no word for what was not asked. */
export interface Verdict {
  /**
   * "refused"; or on whose word the appraisal stands: "audited" on the policy's auditors', "logged"
   * on the log's alone. This module repeats no appraisal, and so never says "reappraised".
   */
  outcome: "refused" | "logged" | "audited";
  /** The step that refused. */
  refused: Step | undefined;
  /** Every step in order, those too that were not made, with the reason. */
  steps: Step[];
  /** Checks of the appraisal that could not be made: what the entry does not prove. */
  absent: string[];
  entry: Proof | undefined;
  origin: string | undefined;
  index: bigint | undefined;
  size: bigint | undefined;
  /** Seconds since 1970: the evidence was made after it. */
  notBefore: bigint | undefined;
  /** Seconds since 1970: the evidence was made before it. */
  notAfter: bigint | undefined;
  /** Of the dossiers that were given, as far as they were checked. */
  dossiers: DossierVerdict[];
}

/** Checks a receipt under the reader's policy and demands. It throws where it was not asked right. */
export function checkReceipt(file: Uint8Array, policy: Policy, question: Question): Verdict {
  const { now, auditGroup, dossiers, since, ...demands } = asked(policy, question);
  const steps = new Steps("demands", ...PROOF_STEPS, "kind", ...DEMAND_STEPS, "dossier");
  const found: Parts = { dossiers: [] };
  try {
    steps.run("demands", () => checkDemands(demands), () => "can be answered");
    found.proven = proveReceipt(file, policy, steps);
    found.proof = steps.run("kind", () => proofOf(found.proven as Proven), () => "a proof");
    found.audited = audited(found.proven, policy, auditGroup ?? AUDITORS);
    meetDemands(found.proven, found.proof, demands, BigInt(Math.floor(now.getTime() / 1000)), found.audited, steps);
    for (const file of dossiers ?? []) {
      const d = checkedDossier(file, policy, asksOf(question));
      found.dossiers.push(d);
      const { refused } = d.verdict;
      if (refused) steps.end({ ...refused, detail: `a dossier: ${refused.detail}` });
    }
    steps.run("dossier", () => clearAll(found), (s) => s);
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  return verdict(steps, found);
}

/** What a check found so far. */
interface Parts {
  proven?: Proven;
  proof?: Proof;
  audited?: boolean;
  dossiers: Checked[];
}

function asked(policy: Policy, question: Question): Question {
  demandPolicy(policy);
  if (!(question?.now instanceof Date) || Number.isNaN(question.now.getTime())) refuse("demands", "now is no time");
  if (question.since !== undefined && !question.dossiers?.length) refuse("demands", "since: of a dossier, and there is none");
  if (question.dossiers !== undefined && !(Array.isArray(question.dossiers) && question.dossiers.every((d) => d instanceof Uint8Array))) refuse("demands", "dossiers are a list of octets");
  if (question.since !== undefined && !(question.since instanceof Date && !Number.isNaN(question.since.getTime()))) refuse("demands", "since is no time");
  return question;
}

/** What is asked of a receipt's dossier. */
function asksOf(q: Question): DossierQuestion {
  const { now, realm, verdict, maxAge, since, auditGroup } = q;
  const all = { now, realm, verdict, maxAge, since, auditGroup };
  return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)) as unknown as DossierQuestion;
}

/** The dossier of the receipt's log clears it, and the others agree with it. */
function clearAll({ dossiers, proven }: Parts): string | Absent {
  const p = proven as Proven;
  if (dossiers.length === 0) return absent("none was given: other entries may contradict this one");
  const own = dossiers.filter((d) => d.verdict.origin === shown(p.origin));
  if (own.length === 0) refuse("dossier", `none is of ${shown(p.origin)}, the receipt's log`);
  const said = own.map((d) => clear(d, p));
  for (const d of dossiers) if (!own.includes(d)) said.push(agree(d, p));
  return said.join("; ");
}

function proofOf(p: Proven): Proof {
  if (p.entry?.kind !== "proof") return refuse("kind", `an entry of kind ${p.entry?.kind} proves nothing of a machine`);
  return p.entry;
}

function verdict(steps: Steps, found: Parts): Verdict {
  const { refused } = steps;
  const { proven: p, proof } = found;
  return {
    outcome: refused || found.audited === undefined ? "refused" : found.audited ? "audited" : "logged",
    refused,
    steps: steps.all,
    absent: proof?.absent ?? [],
    entry: proof,
    origin: p && shown(p.origin),
    index: p?.index,
    size: p?.checkpoint.size,
    notBefore: p?.t1,
    notAfter: p?.t2,
    dossiers: found.dossiers.map((d) => d.verdict),
  };
}
