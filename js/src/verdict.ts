/** docs/format.md section 10: the verdict on a receipt. */
import type { Proof } from "./entry.js";
import { shown } from "./bytes.js";
import { agree, checkedDossier, clear, seconds, type Checked, type DossierQuestion, type DossierVerdict } from "./dossier.js";
import { checkDemands, DEMAND_STEPS, meetDemands, type Demands } from "./demands.js";
import { refuse } from "./errors.js";
import type { Opening } from "./opening.js";
import { audited, PROOF_STEPS, proveReceipt, type Proven } from "./proven.js";
import { Registrars } from "./registrar.js";
import { absent, Steps, Stop, type Step } from "./steps.js";
import { checkObjections, checkVouched, isVouching, voucherOf, type Claimed, type Voucher } from "./subjects.js";
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
  /** Registrars that the reader pins: none may object to the proof by what the dossiers list. */
  registrars?: Registrars;
  /** They show machines of private fleets, for registrars that endorsedBy names. */
  openings?: Opening[];
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
  const { now, auditGroup, dossiers, since, registrars: _, openings: __, ...demands } = asked(policy, question);
  const steps = new Steps("demands", ...PROOF_STEPS, "kind", ...DEMAND_STEPS, "dossier", "standing");
  const found: Parts = { dossiers: [] };
  try {
    steps.run("demands", () => checkDemands(demands), () => "can be answered");
    found.proven = proveReceipt(file, policy, steps);
    found.proof = steps.run("kind", () => proofOf(found.proven as Proven), () => "a proof");
    found.audited = audited(found.proven, policy, auditGroup ?? AUDITORS);
    meetDemands(found.proven, found.proof, demands, BigInt(seconds(now)), found.audited, steps);
    for (const file of dossiers ?? []) {
      const d = checkedDossier(file, policy, asksOf(question));
      found.dossiers.push(d);
      const { refused } = d.verdict;
      if (refused) steps.end({ ...refused, detail: `a dossier: ${refused.detail}` });
    }
    stand(found, question, steps);
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
  if (question.registrars !== undefined && !(question.registrars instanceof Registrars)) refuse("demands", "registrars are not what parseRegistrars read");
  if (question.openings !== undefined && !(Array.isArray(question.openings) && question.openings.every((o) => typeof o?.root === "string"))) refuse("demands", "openings are a list of what parseOpening read");
  const names = Array.isArray(question.endorsedBy) && question.endorsedBy.some((k) => typeof k === "string" && isVouching(k) && voucherOf(k));
  if (names && !(question.registrars && question.dossiers?.length)) refuse("demands", "endorsedBy names a registrar: that takes registrars that are pinned, and a dossier");
  if (question.openings !== undefined && !question.registrars) refuse("demands", "openings: no registrar is pinned");
  return question;
}

/** What is asked of a receipt's dossier. */
function asksOf(q: Question): DossierQuestion {
  const { now, realm, verdict, maxAge, since, auditGroup, registrars } = q;
  const all = { now, realm, verdict, maxAge, since, auditGroup, registrars };
  return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)) as unknown as DossierQuestion;
}

function claimed({ proven, proof }: Parts): Claimed {
  const t2 = proven?.t2;
  return { proof: proof as Proof, t2: t2 === undefined ? undefined : Number(t2) };
}

/** The dossier of the receipt's log clears it, the others agree with it, no pinned registrar objects by one of them, and those who are named vouch. */
function stand(found: Parts, question: Question, steps: Steps): void {
  const { registrars } = question;
  const p = found.proven as Proven;
  const own = found.dossiers.filter((d) => d.origin === p.origin);
  const pinned = registrars?.names.join(", ");
  const skip = (id: string, why: string) => steps.run(id, () => undefined, () => absent(why));
  if (found.dossiers.length === 0) skip("dossier", "none was given: other entries may contradict this one");
  else if (own.length === 0) steps.run("dossier", () => refuse("dossier", `none is of ${shown(p.origin)}, the receipt's log`), String);
  const said: string[] = [];
  for (const d of found.dossiers) {
    steps.run("dossier", () => said.push(own.includes(d) ? clear(d, p) : agree(d, p)), () => said.join("; "));
    if (pinned) steps.run("standing", () => checkObjections(d, own.includes(d), claimed(found)), () => `${pinned}: no objection`);
    if (own.includes(d)) vouched(d, found, question, steps);
  }
  if (!pinned) skip("standing", "no registrar is pinned");
  else if (found.dossiers.length === 0) skip("standing", "no dossier says what registrars state");
}

/** Registrars that the reader demands vouch for the proof, by the dossier of its log. */
function vouched(own: Checked, found: Parts, { endorsedBy, openings, registrars, now }: Question, steps: Steps): void {
  const named = (endorsedBy ?? []).map(voucherOf).filter((v): v is Voucher => v !== undefined);
  if (named.length === 0) return;
  const judge = (v: Voucher) => checkVouched(own, v, openings ?? [], registrars ?? new Registrars([]), seconds(now), claimed(found));
  steps.run("endorsed-by", () => named.map(judge).join("; "), (s) => s);
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
