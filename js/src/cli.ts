#!/usr/bin/env node
/**
 * poclog-verify FILE --policy policy.txt: checks a receipt, a dossier, a contradiction, a wrong
 * index or a split view.
 *
 * The first line begins with PASS, FAIL or UNDECIDED. Exit code 0: PASS. 1: FAIL. 2: usage. 3:
 * UNDECIDED: the file cannot be read, or nothing can be decided without an appraisal.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  checkContradiction, checkDossier, checkIndexWrong, checkReceipt, checkSplitView, parseOpening, parsePolicy, parseRegistrars, PoclogError, type ContradictionVerdict,
  type DossierQuestion, type Question, type Step,
} from "./index.js";
import { wordOf, type Shown } from "./word.js";

const USAGE = `usage: poclog-verify FILE --policy policy.txt [demands]

FILE is a receipt (*.tlog-proof), a dossier, a contradiction, a wrong index or a split view; - is standard input.
Demands of a receipt: --realm --level --profile --place --chassis --require --owner --endorsed-by
--tcb --measurement --user-data --appraisal-digest --verdict --max-age --max-checkpoint-age --max-interval
(--profile, --require, --endorsed-by, --tcb and --appraisal-digest may be repeated; ages are in seconds).
--dossier FILE: the receipt must be cleared by this dossier of its log; repeated, those of other logs must agree. --since TIME (RFC 3339): all that was logged
from then on is listed; without it, everything. --registrars FILE: none of these objects, by what the dossiers list. --endorsed-by NAME@LEVEL: one of
them vouches for the machine, by the log's dossier; --opening FILE shows it in a private fleet (may be repeated). Of a dossier: --covers NAME (may be repeated) --since --verdict --max-age --realm
--registrars. Of a contradiction: --realm. --json prints the verdict.

example: poclog-verify vm.tlog-proof --policy policy.txt --place gce/us-central1 --max-age 3600`;

const one = { type: "string" } as const;
const many = { type: "string", multiple: true } as const;

const OPTIONS = {
  policy: one, json: { type: "boolean" }, help: { type: "boolean" },
  realm: one, level: one, profile: many, place: one, chassis: one, require: many, owner: one,
  "endorsed-by": many, tcb: many, measurement: one, "user-data": one, "appraisal-digest": many, verdict: one,
  dossier: many, registrars: one, opening: many, since: one, covers: many, "max-age": one, "max-checkpoint-age": one, "max-interval": one,
} as const;

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
  const path = positionals[0] as string;
  const read = (p: string) => new Uint8Array(readFileSync(p === "-" ? 0 : p));
  let files;
  try {
    files = { file: read(path), policy: read(values.policy), dossiers: (values.dossier ?? []).map(read), registrars: values.registrars ? read(values.registrars) : undefined, openings: (values.opening ?? []).map(read) };
  } catch (e) {
    console.log(`UNDECIDED  ${path}`);
    console.error(`poclog-verify: ${(e as Error).message}`);
    return 3;
  }
  try {
    return show(check(files, values), path, values.json === true);
  } catch (e) {
    if (!(e instanceof PoclogError)) throw e;
    if (e.step === "demands") return usage(e.message);
    console.log(`FAIL  ${path}`);
    console.error(`poclog-verify: ${e.message}`);
    return 1;
  }
}

type Values = Record<string, string | boolean | string[] | undefined>;

interface Files {
  file: Uint8Array;
  policy: Uint8Array;
  dossiers: Uint8Array[];
  registrars: Uint8Array | undefined;
  openings: Uint8Array[];
}

function check({ file, policy: policyFile, dossiers, registrars, openings }: Files, values: Values): Shown {
  const policy = parsePolicy(policyFile);
  const demands = {
    ...demandsOf(values), ...(registrars ? { registrars: parseRegistrars(registrars) } : {}), ...(openings.length > 0 ? { openings: openings.map(parseOpening) } : {}),
  };
  const now = new Date();
  const head = String.fromCharCode(...file.subarray(0, 32));
  if (!head.startsWith('{"v":1,')) {
    only(demands, "a receipt", (d) => d !== "names");
    return checkReceipt(file, policy, { now, ...demands, ...(dossiers.length > 0 ? { dossiers } : {}) });
  }
  if (dossiers.length > 0) throw new PoclogError("demands", "--dossier is of receipts");
  if (head.startsWith('{"v":1,"index":')) {
    only(demands, "a dossier", (d) => ["realm", "verdict", "maxAge", "since", "names", "registrars"].includes(d));
    return checkDossier(file, policy, { now, ...(demands as Omit<DossierQuestion, "now">) });
  }
  const isWrong = head.startsWith('{"v":1,"rule":"index-wrong",');
  const isContradiction = !isWrong && head.startsWith('{"v":1,"rule":');
  only(demands, "this file", (d) => isContradiction && d === "realm");
  if (isWrong) return checkIndexWrong(file, policy);
  if (!isContradiction) return checkSplitView(file, policy);
  return checkContradiction(file, policy, demands.realm ? { realm: demands.realm } : {});
}

/** Refuses demands that a file cannot answer. */
function only(demands: object, what: string, answers: (name: string) => boolean): void {
  for (const name of Object.keys(demands)) if (!answers(name)) throw new PoclogError("demands", `${name} is no demand of ${what}`);
}

function demandsOf(values: Values): Omit<Question, "now"> {
  const numbers = ["level", "maxAge", "maxCheckpointAge", "maxInterval"];
  const out: Record<string, unknown> = {};
  for (const [option, value] of Object.entries(values)) {
    if (["policy", "json", "help", "dossier", "registrars", "opening"].includes(option)) continue;
    if (option === "covers") out["names"] = value;
    if (option === "since") out["since"] = new Date(value as string);
    if (option === "covers" || option === "since") continue;
    const words = option.split("-");
    const name = words[0] + words.slice(1).map((w) => w.charAt(0).toUpperCase() + w.slice(1)).join("");
    out[name] = numbers.includes(name) ? Number(value) : value;
  }
  return out as Omit<Question, "now">;
}

function show(v: Shown, path: string, json: boolean): number {
  const [word, code] = outcome(v);
  if (json) {
    console.log(JSON.stringify({ v: 1, ...v }, (_, x) => (typeof x === "bigint" ? String(x) : x)));
    return code;
  }
  if (code === 2) return usage(v.refused?.detail ?? "");
  console.log(`${word}  ${path}: ${subject(v)}`);
  for (const s of v.steps) console.log(`  ${mark(s)} ${s.id.padEnd(20)} ${s.detail || s.state}`);
  for (const line of remarks(v)) console.log(`  ${line}`);
  return code;
}

function outcome(v: Shown): [word: string, code: number] {
  if (v.refused?.id === "demands") return ["", 2];
  const word = wordOf(v);
  return [word, { PASS: 0, FAIL: 1, UNDECIDED: 3 }[word]];
}

function contradictionIs(v: ContradictionVerdict): string {
  if (v.severity === "contradiction") return `is proven, by rule ${v.rule}`;
  const tells = v.outcome === "undecided" || v.ifReappraised?.severity === "contradiction";
  return tells ? "only an appraisal could tell" : `no contradiction, but an ${v.severity} by rule ${v.rule}`;
}

function subject(v: Shown): string {
  if (v.outcome === "refused") return `${v.refused?.id}: ${v.refused?.detail}`;
  if ("found" in v) return `complete below entry ${v.size} of ${v.origin}, ${v.outcome}`;
  if ("wrong" in v) return `the index of ${v.origin} is wrong: entry ${v.entry} is ${v.wrong}`;
  if ("rule" in v) return contradictionIs(v);
  return "entry" in v ? `${v.outcome}, entry ${v.index} of ${v.origin}` : `split view of ${v.origin}`;
}

/** What a verdict's outcome leaves open. */
function remarks(v: Shown): string[] {
  const out: string[] = [];
  if ("absent" in v && v.absent.length > 0) out.push(`the evidence does not prove: ${v.absent.join(", ")}`);
  if ("found" in v) {
    for (const n of v.names) out.push(`${n.name}: ${n.numbers.length} entries${n.fromFirst ? "" : ", and earlier ones"}`);
    for (const f of v.found) out.push(`${f.severity} ${f.rule}: entries ${f.entries.join(", ")}`);
    for (const s of v.subjects) for (const r of s.standings) out.push(`${s.identity}: ${r.registrar} says: ${r.says}`);
    for (const s of v.subjects) for (const m of s.moves) out.push(`${s.identity}: ${m.registrar} announced a move from ${m.source} to ${m.target}`);
  }
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
