/** docs/format.md section 17: checking a dossier, and whether it clears a receipt. */
import { digest, equal, fromHex, octetsOf, shown, toHex } from "./bytes.js";
import { compareAll, gravest, type Found, type Placed } from "./classes.js";
import { parseDossier, type Dossier, type DossierEntry, type Page } from "./dossierfile.js";
import { readEntry, type Entry, type Index, type Proof } from "./entry.js";
import { PoclogError, refuse, under } from "./errors.js";
import { ALGORITHM, checkListed, identityNames, namesOf } from "./indexmap.js";
import { consistent, leafHash, rootOf } from "./merkle.js";
import { openCheckpoint, parseCheckpoint, type Checkpoint, type Opened } from "./note.js";
import { audited, isMet, PROOF_STEPS, proveReceipt, quorumSince, quorumTime, SKEW, vouched, type Proven } from "./proven.js";
import { Registrars } from "./registrar.js";
import type { Stated } from "./standing.js";
import { absent, Steps, Stop, type Step } from "./steps.js";
import { subjectsOf, type Subject } from "./subjects.js";
import { AUDITORS, demandPolicy, type Policy } from "./tlogpolicy.js";

/** What a reader asks of a dossier, and when. */
export interface DossierQuestion {
  now: Date;
  /** Whose entries are compared. Default "production". */
  realm?: "production" | "lab";
  /** Names that must be covered. */
  names?: string[];
  /** "audited": auditors of the policy must have recomputed the index. */
  verdict?: "logged" | "audited";
  /** How old the index may be, in seconds. */
  maxAge?: number;
  /** From when on all entries must be listed. Left out: from the first. */
  since?: Date;
  /** The witness or group of the policy whose cosignatures make an index audited. Default "auditors". */
  auditGroup?: string;
  /** Whose statements count. */
  registrars?: Registrars;
}

/** What a dossier says of a name. */
export interface Covered {
  name: string;
  /** The entries that state it, ascending. */
  numbers: bigint[];
  /** Whether these are all, or only those since a time. */
  fromFirst: boolean;
}

/** What a dossier proves: every entry of one log that states some names. */
export interface DossierVerdict {
  /** "refused"; or on whose word the lists are complete: the log's, or the policy's auditors', too. */
  outcome: "refused" | "logged" | "audited";
  refused: Step | undefined;
  steps: Step[];
  /** The log. A dossier proves nothing about others. */
  origin: string | undefined;
  /** The lists are of the entries below this number. */
  size: bigint | undefined;
  /** Seconds since 1970: the quorum had seen all these entries then, or later. */
  asOf: bigint | undefined;
  names: Covered[];
  /** What the rules find, as the entries say: nobody repeated an appraisal, and a log can invent an entry. */
  found: Found[];
  /** What the registrars that the reader pins say of each identity whose statements are covered. */
  subjects: Subject[];
}

/** The steps of a dossier's check, in order. */
export const DOSSIER_STEPS = [...PROOF_STEPS, "index", "numbers", "map", "entries", "tree", "times", "rules", "names", "verdict", "max-age", "since"];

interface Checking {
  file: Dossier;
  policy: Policy;
  receipt: Proven;
  index: Index;
  checkpoint: Opened;
  since: Opened | undefined;
  entries: Map<bigint, { entry: Entry; at: DossierEntry; page: Page }>;
}

/** What is known of a dossier that was checked, for whoever asks it about a receipt. */
export interface Checked {
  verdict: DossierVerdict;
  entries: Checking["entries"] | undefined;
  origin: string;
  /** Its proofs of the realm that was asked for. */
  placed: Placed[];
  stated: Stated[];
}

/** Checks a dossier under the reader's policy. It throws where it was not asked right. */
export function checkDossier(file: Uint8Array, policy: Policy, question: DossierQuestion): DossierVerdict {
  return checkedDossier(file, policy, question).verdict;
}

export function checkedDossier(file: Uint8Array, policy: Policy, question: DossierQuestion): Checked {
  demandPolicy(policy);
  checkQuestion(question);
  const steps = new Steps(...DOSSIER_STEPS);
  let k: Checking | undefined;
  let found: Found[] = [];
  let listed: InLog = { placed: [], stated: [] };
  let byAuditors: boolean | undefined;
  try {
    k = open(file, policy, steps);
    list(k, steps);
    const all = steps.run("times", () => place(k as Checking), (l) => `${l.placed.filter((c) => c.t1 !== undefined).length} of ${l.placed.length} proofs say after when they were made`);
    const realm = question.realm ?? "production";
    listed = { ...all, placed: all.placed.filter((c) => c.entry.realm === realm) };
    found = steps.run("rules", () => compareAll(listed.placed), sayFound);
    byAuditors = demand(k, question, steps);
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  const checked: Checked = { verdict: verdict(steps, k, found, byAuditors), entries: steps.refused ? undefined : k?.entries, origin: k?.receipt.origin ?? "", ...listed };
  if (question.registrars) checked.verdict.subjects = subjectsOf(checked, question.registrars, seconds(question.now));
  return checked;
}

export function seconds(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}

const QUESTIONS = ["now", "realm", "names", "verdict", "maxAge", "since", "auditGroup", "registrars"];

/** Refuses what cannot be meant: a demand that nobody looks at is none. */
function checkQuestion(q: DossierQuestion): void {
  const time = (t: unknown) => t instanceof Date && !Number.isNaN(t.getTime());
  if (!time(q?.now)) refuse("demands", "now is no time");
  for (const name of Object.keys(q)) if (!QUESTIONS.includes(name)) refuse("demands", `${name} is no demand`);
  if (q.realm !== undefined && q.realm !== "production" && q.realm !== "lab") refuse("demands", `realm ${String(q.realm)}`);
  if (q.verdict !== undefined && q.verdict !== "logged" && q.verdict !== "audited") refuse("demands", `verdict ${String(q.verdict)}`);
  if (q.names !== undefined && !(Array.isArray(q.names) && q.names.every((n) => typeof n === "string"))) refuse("demands", "names is no list of names");
  if (q.maxAge !== undefined && !(Number.isSafeInteger(q.maxAge) && q.maxAge >= 1)) refuse("demands", `maxAge ${String(q.maxAge)}`);
  if (q.since !== undefined && !time(q.since)) refuse("demands", "since is no time");
  if (q.registrars !== undefined && !(q.registrars instanceof Registrars)) refuse("demands", "registrars are not what parseRegistrars read");
}

/** Steps 1 to 3: the file, the index entry and the checkpoints. */
function open(octets: Uint8Array, policy: Policy, steps: Steps): Checking {
  const file = steps.run("format", () => parseDossier(octets), (d) => `a dossier of ${d.names.length} names`);
  const receipt = proveReceipt(file.index, policy, steps);
  const index = steps.run("index", () => indexOf(receipt), () => "");
  const checkpoint = steps.run("index", () => namedBy(index, file.checkpoint, receipt, policy), () => `all entries below ${index.size} of ${shown(receipt.origin)}`);
  const since = steps.run("numbers", () => sinceOf(file, receipt, index, policy), () => "");
  return { file, policy, receipt, index, checkpoint, since, entries: new Map() };
}

/** The index entry that a receipt proves. */
export function indexOf(p: Proven): Index {
  if (p.entry?.kind !== "index") return refuse("index", `an entry of kind ${p.entry?.kind} is no index`);
  if (p.entry.algorithm !== ALGORITHM) refuse("index", `algorithm ${p.entry.algorithm} is not known here`);
  if (p.entry.size > p.index) refuse("index", `an index of ${p.entry.size} entries is entry ${p.index}`);
  return p.entry;
}

/** Opens a checkpoint of a log, with the quorum's cosignatures. */
function quorate(file: Uint8Array, origin: string, policy: Policy, step: string): Opened {
  const c = openCheckpoint(file, policy, step);
  if (c.origin !== origin) refuse(step, "another log's checkpoint");
  if (!isMet(policy.quorum, c)) refuse(step, "the quorum of witnesses is not met");
  return c;
}

function namedBy(index: Index, file: Uint8Array, receipt: Proven, policy: Policy): Opened {
  if (digest(file) !== index.checkpoint) refuse("index", "not the checkpoint that the index entry names");
  const c = quorate(file, receipt.origin, policy, "index");
  if (c.size !== index.size) refuse("index", `the checkpoint has size ${c.size}, the index ${index.size}`);
  return c;
}

function sinceOf(file: Dossier, receipt: Proven, index: Index, policy: Policy): Opened | undefined {
  if (!file.since) return undefined;
  const c = quorate(file.since, receipt.origin, policy, "numbers");
  if (c.size > index.size) refuse("numbers", `since size ${c.size}: the index has ${index.size}`);
  return c;
}

/** Steps 4 to 6: what the map says of each name, and the entries that it lists. */
function list(k: Checking, steps: Steps): void {
  const root = fromHex(k.index.root);
  let there = 0;
  for (const n of k.file.names) {
    if (steps.run("map", () => checkListed(n, root, "numbers", k.index.size), () => `the index says so of ${k.file.names.length} names`)) there++;
    steps.run("numbers", () => reachesBack(n, k.since), () => `${there} of ${k.file.names.length} names are there; no entry is left out`);
  }
  steps.run("entries", () => readEntries(k), () => `${k.entries.size} entries, each of which states what lists it`);
  steps.run("tree", () => inTree(k), () => (k.entries.size > 0 ? `in the log's tree of size ${k.receipt.checkpoint.size}` : absent("nothing is listed")));
}

function reachesBack(n: { before?: string; numbers?: bigint[]; name: string }, since: Opened | undefined): void {
  if (n.before === undefined) return;
  if (!since) refuse("numbers", `${n.name}: no checkpoint says since when all entries are listed`);
  if (((n.numbers ?? [])[0] as bigint) >= since.size) refuse("numbers", `${n.name}: the list begins after the checkpoint since which it should be complete`);
}

function readEntries(k: Checking): void {
  for (const page of k.file.pages ?? []) {
    for (const at of page.entries) {
      const entry = under("entries", () => readEntry(at.leaf));
      if (entry.kind === "unknown") refuse("entries", `entry ${at.number} is of a kind that is unknown here`);
      k.entries.set(at.number, { entry, at, page });
    }
  }
  const listed = new Set<bigint>();
  for (const n of k.file.names) {
    for (const number of n.numbers ?? []) {
      const e = k.entries.get(number);
      if (!e) return refuse("entries", `entry ${number} is listed and not in the file`);
      if (!namesOf(e.entry).includes(n.name)) refuse("entries", `entry ${number} does not state ${n.name}`);
      listed.add(number);
    }
  }
  if (listed.size !== k.entries.size) refuse("entries", "an entry that no name lists");
}

function inTree(k: Checking): void {
  const { size, root } = k.receipt.checkpoint;
  for (const p of k.file.pages ?? []) {
    const leaves = p.entries.map((e) => ({ number: e.number, hash: leafHash(octetsOf(e.leaf)) }));
    if (!equal(rootOf(leaves, size, (p.proof ?? []).map(fromHex), "tree"), root)) refuse("tree", "a page does not lead to the root of the checkpoint");
  }
}

/** A checkpoint of a page, and what the policy and the receipt's tree say of it. */
interface Known {
  /** undefined: it is none. */
  said: Checkpoint | undefined;
  /** undefined: the policy does not vouch for it. */
  opened: Opened | undefined;
  /** Whether it is shown to be of one history with the receipt's checkpoint. */
  ofHistory: boolean;
}

/** What a dossier lists, where and when it stands. */
interface InLog {
  placed: Placed[];
  stated: Stated[];
}

/** Step 7: where and when each proof and each statement stands. */
function place(k: Checking): InLog {
  const checkpoints = new Checkpoints(k);
  const out: InLog = { placed: [], stated: [] };
  for (const [index, { entry, at, page }] of k.entries) {
    const first = at.first === undefined ? undefined : checkpoints.get(page, at.first);
    const challenge = at.challenge === undefined ? undefined : checkpoints.get(page, at.challenge);
    if (first && !(first.ofHistory && (first.said as Checkpoint).size > index)) refuse("times", `entry ${index}: the checkpoint that is said to cover it does not`);
    if (challenge) isChallenge(index, entry, page.checkpoints?.[(at.challenge as number) - 1]?.checkpoint as Uint8Array, challenge);
    const t2 = first?.opened && quorumTime(k.policy.quorum, first.opened);
    if (entry.kind === "statement") out.stated.push({ number: index, logged: t2 === undefined ? entry.time : Number(t2), bounded: t2 !== undefined, envelope: entry.envelope });
    if (entry.kind !== "proof") continue;
    out.placed.push({
      origin: k.receipt.origin,
      index,
      entry,
      t1: challenge?.opened && quorumSince(k.policy.quorum, challenge.opened),
      t2,
      covers: challenge?.ofHistory ? (challenge.said as Checkpoint).size : 0n,
    });
  }
  return out;
}

function isChallenge(index: bigint, entry: Entry, file: Uint8Array, c: Known): void {
  const fresh = entry.kind === "proof" ? entry.fresh : undefined;
  if (!fresh || digest(file) !== fresh.checkpoint) refuse("times", `entry ${index}: not the challenge that it names`);
  if (!c.said || c.said.origin !== fresh.origin || c.said.size !== fresh.size || toHex(c.said.root) !== fresh.root) {
    refuse("times", `entry ${index} names another origin, size or root than its challenge has`);
  }
}

/** Opens the checkpoints that entries refer to, each once. */
class Checkpoints {
  readonly #seen = new Map<string, Pick<Known, "said" | "opened">>();
  readonly #pages = new Map<Page, (Known | undefined)[]>();

  constructor(private readonly k: Checking) {}

  get(page: Page, number: number): Known {
    let known = this.#pages.get(page);
    if (!known) this.#pages.set(page, (known = []));
    return (known[number] ??= this.#open(page, number));
  }

  #open(page: Page, number: number): Known {
    const c = page.checkpoints?.[number - 1];
    if (!c) return refuse("times", `checkpoint ${number} is not in the page`);
    const name = digest(c.checkpoint);
    let said = this.#seen.get(name);
    if (!said) this.#seen.set(name, (said = { said: saidBy(c.checkpoint), opened: vouched(c.checkpoint, this.k.policy) }));
    const { origin, size, root } = this.k.receipt.checkpoint;
    const hashes = (c.consistency ?? []).map(fromHex);
    const own = said.said?.origin === origin ? said.said : undefined;
    return { ...said, ofHistory: own !== undefined && consistent(own.size, own.root, size, root, hashes) };
  }
}

function saidBy(file: Uint8Array): Checkpoint | undefined {
  try {
    return parseCheckpoint(file);
  } catch (e) {
    if (e instanceof PoclogError) return undefined;
    throw e;
  }
}

function sayFound(found: Found[]): string {
  return [...new Set(found.map((f) => `${f.severity} ${f.rule}: entries ${f.entries.join(", ")}`))].join("; ") || "nothing contradicts";
}

/** Step 9. Gives whether the lists stand on auditors' word. */
function demand(k: Checking, q: DossierQuestion, steps: Steps): boolean {
  const byAuditors = audited(k.receipt, k.policy, q.auditGroup ?? AUDITORS);
  const names = new Set(k.file.names.map((n) => n.name));
  const missing = (q.names ?? []).filter((n) => !names.has(n));
  const made = (id: string, asked: unknown, ok: boolean, detail: string) =>
    steps.run(id, () => (ok ? undefined : refuse(id, detail)), () => (asked === undefined ? absent("not asked for") : detail));
  made("names", q.names, missing.length === 0, missing.length === 0 ? "all are covered" : `not covered: ${missing.join(", ")}`);
  made("verdict", q.verdict, q.verdict !== "audited" || byAuditors, byAuditors ? "audited" : "logged");
  const now = BigInt(seconds(q.now));
  const at = quorumSince(k.policy.quorum, k.checkpoint);
  const age = at === undefined ? undefined : now - at;
  made("max-age", q.maxAge, q.maxAge === undefined || (age !== undefined && age <= BigInt(q.maxAge) && age >= -SKEW), age === undefined ? "unknown" : `${age} s`);
  made("since", q.since, ...listedSince(k, q.since));
  return byAuditors;
}

function listedSince(k: Checking, since: Date | undefined): [ok: boolean, detail: string] {
  if (!k.since || k.since.size === 0n) return [true, "all entries are listed"];
  if (since === undefined) return [false, "the file leaves out entries, and no time was asked for"];
  const from = quorumTime(k.policy.quorum, k.since);
  const ok = from !== undefined && from <= BigInt(seconds(since));
  return [ok, from === undefined ? "no witness says since when all entries are listed" : `all entries since ${from} are listed`];
}

function verdict(steps: Steps, k: Checking | undefined, found: Found[], byAuditors: boolean | undefined): DossierVerdict {
  const { refused } = steps;
  const done = !refused && byAuditors !== undefined;
  return {
    outcome: !done ? "refused" : byAuditors ? "audited" : "logged",
    refused,
    steps: steps.all,
    origin: k && shown(k.receipt.origin),
    size: k?.index.size,
    asOf: k && quorumSince(k.policy.quorum, k.checkpoint),
    names: done && k ? k.file.names.map((n) => ({ name: n.name, numbers: n.numbers ?? [], fromFirst: n.before === undefined })) : [],
    found: done ? found : [],
    subjects: [],
  };
}

/** Refuses, as step "dossier", a receipt of another log with which a dossier does not agree; gives what there is to say of it. */
export function agree({ verdict: v, placed }: Checked, p: Proven): string {
  const entry = p.entry as Proof;
  const missing = identityNames(entry).filter((name) => !v.names.some((n) => n.name === name));
  if (missing.length > 0) refuse("dossier", `that of ${v.origin} does not cover ${missing.join(", ")}`);
  const { origin, index, t1, t2 } = p;
  const against = gravest(compareAll([...placed, { origin, index, t1, t2, entry, covers: 0n }]));
  if (against) refuse("dossier", `that of ${v.origin}: ${against.severity} ${against.rule}`);
  return `${v.origin} has nothing against it below entry ${v.size}`;
}

/** Refuses, as step "dossier", a receipt that a dossier does not clear; gives what there is to say of it. */
export function clear(c: Checked, p: Proven): string {
  const fail = (detail: string): never => refuse("dossier", detail);
  const { verdict: v, entries } = c;
  if (v.refused || !entries || v.size === undefined) return fail(`${v.refused?.id}: ${v.refused?.detail}`);
  if (v.origin !== shown(p.origin)) fail(`of ${v.origin}, the receipt of ${shown(p.origin)}`);
  if (p.index >= v.size) fail(`the receipt is of entry ${p.index}, newer than the index of ${v.size} entries`);
  const listed = entries.get(p.index);
  if (!listed) return fail(`does not list entry ${p.index}`);
  if (!equal(octetsOf(listed.at.leaf), p.leaf)) fail(`entry ${p.index} is another one there: the log signed two histories`);
  for (const name of identityNames(listed.entry)) {
    if (!v.names.some((n) => n.name === name && n.numbers.includes(p.index))) fail(`no list of ${name} has entry ${p.index}`);
  }
  const against = gravest(v.found);
  if (against) fail(`${against.severity} ${against.rule}: entries ${against.entries.join(", ")}`);
  return `complete below entry ${v.size} on the word of ${v.outcome === "audited" ? "auditors" : "the log"}; nothing contradicts`;
}
