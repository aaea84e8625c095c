#!/usr/bin/env node
/**
 * poclog-verify FILE --policy policy.txt: checks a receipt, a contradiction or a split view.
 *
 * Exit code 0: it holds. 1: it is refused. 2: usage. 3: the file cannot be read, or nothing can be
 * decided without an appraisal.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkContradiction, checkReceipt, checkSplitView, parsePolicy, PoclogError, type ContradictionVerdict, type Question, type SplitViewVerdict, type Step, type Verdict } from "./index.js";

const USAGE = `usage: poclog-verify FILE --policy policy.txt [demands]

FILE is a receipt (*.tlog-proof), a contradiction or a split view; - is standard input.
Demands of a receipt: --realm --level --profile --place --chassis --require --owner --endorsed-by
--tcb --measurement --user-data --appraisal-digest --verdict --max-age --max-checkpoint-age --max-interval
(--profile, --require, --endorsed-by, --tcb and --appraisal-digest may be repeated; ages are in seconds).
Of a contradiction: --realm. --json prints the verdict.

example: poclog-verify vm.tlog-proof --policy policy.txt --place gce/us-central1 --max-age 3600`;

const one = { type: "string" } as const;
const many = { type: "string", multiple: true } as const;

const OPTIONS = {
  policy: one, json: { type: "boolean" }, help: { type: "boolean" },
  realm: one, level: one, profile: many, place: one, chassis: one, require: many, owner: one,
  "endorsed-by": many, tcb: many, measurement: one, "user-data": one, "appraisal-digest": many, verdict: one,
  "max-age": one, "max-checkpoint-age": one, "max-interval": one,
} as const;

type Shown = Verdict | ContradictionVerdict | SplitViewVerdict;

function main(): number {
  let args;
  try {
    args = parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (e) {
    return usage((e as Error).message);
  }
  const { values, positionals } = args;
  if (values.help) return print(USAGE, 0);
  if (positionals.length !== 1 || !values.policy) return usage("want one FILE and --policy");
  let file: Uint8Array;
  let policyFile: Uint8Array;
  try {
    file = new Uint8Array(readFileSync(positionals[0] === "-" ? 0 : (positionals[0] as string)));
    policyFile = new Uint8Array(readFileSync(values.policy));
  } catch (e) {
    console.error(`poclog-verify: ${(e as Error).message}`);
    return 3;
  }
  try {
    return show(check(file, policyFile, values), values.json === true);
  } catch (e) {
    if (!(e instanceof PoclogError)) throw e;
    console.error(`poclog-verify: ${e.message}`);
    return e.step === "demands" ? 2 : 1;
  }
}

type Values = Record<string, string | boolean | string[] | undefined>;

function check(file: Uint8Array, policyFile: Uint8Array, values: Values): Shown {
  const policy = parsePolicy(policyFile);
  const demands = demandsOf(values);
  const head = String.fromCharCode(...file.subarray(0, 16));
  if (!head.startsWith('{"v":1,')) return checkReceipt(file, policy, { now: new Date(), ...demands });
  const { realm, ...others } = demands;
  if (Object.keys(others).length > 0) throw new PoclogError("demands", `${Object.keys(others)[0]} is of receipts`);
  if (head.startsWith('{"v":1,"rule":')) return checkContradiction(file, policy, realm ? { realm } : {});
  if (realm) throw new PoclogError("demands", "realm: a split view has none");
  return checkSplitView(file, policy);
}

function demandsOf(values: Values): Omit<Question, "now"> {
  const numbers = ["level", "maxAge", "maxCheckpointAge", "maxInterval"];
  const out: Record<string, unknown> = {};
  for (const [option, value] of Object.entries(values)) {
    if (["policy", "json", "help"].includes(option)) continue;
    const words = option.split("-");
    const name = words[0] + words.slice(1).map((w) => w.charAt(0).toUpperCase() + w.slice(1)).join("");
    out[name] = numbers.includes(name) ? Number(value) : value;
  }
  return out as Omit<Question, "now">;
}

function show(v: Shown, json: boolean): number {
  if (json) {
    console.log(JSON.stringify({ v: 1, ...v }, (_, x) => (typeof x === "bigint" ? String(x) : x)));
  } else {
    for (const s of v.steps) console.log(`${mark(s)} ${s.id.padEnd(20)} ${s.detail || s.state}`);
    for (const line of remarks(v)) console.log(line);
    console.log(v.outcome);
  }
  if (v.refused?.id === "demands") return 2;
  if (v.outcome === "refused") return 1;
  return v.outcome === "undecided" ? 3 : 0;
}

/** What a verdict's outcome leaves open. */
function remarks(v: Shown): string[] {
  const out: string[] = [];
  if ("absent" in v && v.absent.length > 0) out.push(`the evidence does not prove: ${v.absent.join(", ")}`);
  if (!("severity" in v)) return out;
  const worth = (f: { severity: string; implicated: string[] }) => `${f.severity}, implicated: ${f.implicated.join(", ") || "nobody"}`;
  if (v.severity) out.push(worth({ severity: v.severity, implicated: v.implicated }));
  if (v.withheld.length > 0) out.push(`without the evidence of ${v.withheld.join(", ")}`);
  if (v.ifReappraised) out.push(`if the evidence gives the entries: ${worth(v.ifReappraised)}`);
  return out;
}

function mark(s: Step): string {
  return { passed: "yes", refused: "NO ", absent: " - ", "not reached": " . " }[s.state];
}

function print(text: string, code: number): number {
  console.log(text);
  return code;
}

function usage(problem: string): number {
  console.error(`poclog-verify: ${problem}\n\n${USAGE}`);
  return 2;
}

process.exitCode = main();
