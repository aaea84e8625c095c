/** docs/format.md section 16: a log's index is wrong, which the log signed. */
import { fromHex, shown } from "./bytes.js";
import { indexOf } from "./dossier.js";
import { INDEX_WRONG, parseIndexWrong, type IndexWrong } from "./dossierfile.js";
import type { Index } from "./entry.js";
import { refuse } from "./errors.js";
import { checkListed, namesOf } from "./indexmap.js";
import { audited, PROOF_STEPS, proveReceipt, type Proven } from "./proven.js";
import { Steps, Stop, type Step } from "./steps.js";
import { AUDITORS, demandPolicy, type Policy } from "./tlogpolicy.js";

/** The last step, and the rule. */
const RULE = INDEX_WRONG;

/** Whether a log's index is wrong. It is the log's own word, so that nothing needs to be repeated. */
export interface IndexWrongVerdict {
  outcome: "refused" | "found";
  refused: Step | undefined;
  steps: Step[];
  /** Of whom the log says something wrong. */
  name: string | undefined;
  /** What is wrong. */
  wrong: "left out" | "listed" | undefined;
  /** The number of the entry that the list has wrong. */
  entry: bigint | undefined;
  implicated: string[];
  /** Whether auditors of the policy signed the index as well as the log. */
  byAuditors: boolean;
  origin: string | undefined;
}

/** Checks the file that shows that a log's index is wrong. */
export function checkIndexWrong(file: Uint8Array, policy: Policy, auditGroup = AUDITORS): IndexWrongVerdict {
  demandPolicy(policy);
  const steps = new Steps("format", "receipts", "index", "map", "numbers", RULE);
  let w: IndexWrong | undefined;
  let found: { index: Proven; entry: bigint; wrong: "left out" | "listed" } | undefined;
  try {
    const f = (w = steps.run("format", () => parseIndexWrong(file), (w) => w.name));
    const index = prove(f.index, policy, steps, "the index entry");
    const says = steps.run("index", () => indexOf(index), (i) => `all entries below ${i.size}`);
    const entry = prove(f.entry, policy, steps, "the entry");
    found = { index, entry: entry.index, wrong: steps.run(RULE, () => wrongOf(f, index, says, entry, steps), (w) => `entry ${entry.index} is ${w}`) };
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  const done = steps.refused ? undefined : found;
  const origin = done && shown(done.index.origin);
  return {
    outcome: done ? "found" : "refused",
    refused: steps.refused,
    steps: steps.all,
    name: w?.name,
    wrong: done?.wrong,
    entry: done?.entry,
    implicated: origin === undefined ? [] : [`log:${origin}`],
    byAuditors: done !== undefined && audited(done.index, policy, auditGroup),
    origin,
  };
}

function prove(file: Uint8Array, policy: Policy, steps: Steps, what: string): Proven {
  const own = new Steps(...PROOF_STEPS);
  try {
    const p = proveReceipt(file, policy, own);
    return steps.run("receipts", () => p, () => `${what} is number ${p.index} of ${shown(p.origin)}`);
  } catch (e) {
    const refused = own.refused;
    if (refused) steps.run(refused.id, () => refuse(refused.id, `${what}: ${refused.detail}`), () => "");
    throw e;
  }
}

function wrongOf(f: IndexWrong, index: Proven, says: Index, entry: Proven, steps: Steps): "left out" | "listed" {
  if (index.origin !== entry.origin) refuse(RULE, "receipts of two logs");
  if (entry.index >= says.size) refuse(RULE, `entry ${entry.index} is not below ${says.size}`);
  steps.run("map", () => checkListed(f, fromHex(says.root), "numbers"), (there) => (there ? "the name is there" : "the name is absent"));
  if (f.before !== undefined && ((f.numbers ?? [])[0] ?? 0n) > entry.index) refuse(RULE, "the entry may stand before the first number that is listed");
  const listed = f.numbers?.includes(entry.index) ?? false;
  const states = entry.entry !== undefined && namesOf(entry.entry).includes(f.name);
  if (listed === states) return refuse(RULE, listed ? "the entry is listed, and states the name" : "the entry is not listed, and does not state the name");
  return listed ? "listed" : "left out";
}
