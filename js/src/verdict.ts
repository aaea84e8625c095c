/** docs/format.md section 10: the verdict on a receipt. */
import type { Proof } from "./entry.js";
import { shown } from "./bytes.js";
import { checkDemands, DEMAND_STEPS, meetDemands, type Demands } from "./demands.js";
import { refuse } from "./errors.js";
import { PROOF_STEPS, proveReceipt, type Proven } from "./proven.js";
import { Steps, Stop, type Step } from "./steps.js";
import { demandPolicy, type Policy } from "./tlogpolicy.js";

/** What a reader asks, and when. */
export interface Question extends Demands {
  now: Date;
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
}

/** Checks a receipt under the reader's policy and demands. It throws where it was not asked right. */
export function checkReceipt(file: Uint8Array, policy: Policy, question: Question): Verdict {
  const { now, ...demands } = asked(policy, question);
  const steps = new Steps("demands", ...PROOF_STEPS, "kind", ...DEMAND_STEPS);
  const found: { proven?: Proven; proof?: Proof } = {};
  try {
    steps.run("demands", () => checkDemands(demands), () => "can be answered");
    found.proven = proveReceipt(file, policy, steps);
    found.proof = steps.run("kind", () => proofOf(found.proven as Proven), () => "a proof");
    meetDemands(found.proven, found.proof, demands, BigInt(Math.floor(now.getTime() / 1000)), steps);
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  return verdict(steps, found.proven, found.proof);
}

function asked(policy: Policy, question: Question): Question {
  demandPolicy(policy);
  if (!(question?.now instanceof Date) || Number.isNaN(question.now.getTime())) refuse("demands", "now is no time");
  return question;
}

function proofOf(p: Proven): Proof {
  if (p.entry === undefined) return refuse("format", "the leaf is malformed");
  if (p.entry.kind === "unknown") return refuse("kind", "a leaf of a kind or version that is unknown");
  if (p.entry.kind === "config") return refuse("kind", "a configuration entry proves nothing of a machine");
  return p.entry;
}

function verdict(steps: Steps, p: Proven | undefined, proof: Proof | undefined): Verdict {
  const { refused } = steps;
  return {
    outcome: refused || !p ? "refused" : p.audited ? "audited" : "logged",
    refused,
    steps: steps.all,
    absent: proof?.absent ?? [],
    entry: proof,
    origin: p && shown(p.origin),
    index: p?.index,
    size: p?.checkpoint.size,
    notBefore: p?.t1,
    notAfter: p?.t2,
  };
}
