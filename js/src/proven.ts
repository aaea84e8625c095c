/** docs/format.md section 10, steps 1 to 6: what a receipt proves of an entry, under a policy. */
import { digest, equal, toHex } from "./bytes.js";
import { tryEntry, type Entry, type Fresh, type Proof } from "./entry.js";
import { refuse } from "./errors.js";
import { includes, leafHash } from "./merkle.js";
import { openCheckpoint, parseNote, type Opened } from "./note.js";
import { parseReceipt, type Receipt } from "./receipt.js";
import { absent, Steps, type Absent } from "./steps.js";
import { met, type Policy, type Quorum } from "./tlogpolicy.js";

/** How far clocks may differ, in seconds. */
export const SKEW = 60n;

/** The times of a receipt, in seconds since 1970; undefined where nobody says. */
export interface Times {
  /** The evidence was made after it. */
  t1: bigint | undefined;
  /** It was made before it. */
  t2: bigint | undefined;
}

/** An entry that a log of the policy published. */
export interface Proven extends Times {
  origin: string;
  index: bigint;
  leaf: Uint8Array;
  /** undefined: the leaf is malformed. */
  entry: Entry | undefined;
  checkpoint: Opened;
  /** When the quorum of the receipt's checkpoint was met. */
  seen: bigint | undefined;
  audited: boolean;
}

/** The least time at which the cosignatures up to it satisfy a quorum. */
export function quorumTime(q: Quorum, c: Opened): bigint | undefined {
  return met(q, (w) => c.times.get(w.key)?.least, (a, b) => a < b);
}

/** The greatest time such that the cosignatures from it on satisfy a quorum. */
export function quorumSince(q: Quorum, c: Opened): bigint | undefined {
  return met(q, (w) => c.times.get(w.key)?.most, (a, b) => a > b);
}

/** The ids of the steps that proveReceipt makes. */
export const PROOF_STEPS = ["format", "checkpoint", "inclusion", "first", "challenge", "interval"];

export interface Leniency {
  /** Let pass an entry that was not appraised between t1 and t2. */
  anyInterval?: boolean;
}

/** Makes steps 1 to 6. It judges neither the entry's kind nor what it says. */
export function proveReceipt(file: Uint8Array, policy: Policy, steps: Steps, lenient: Leniency = {}): Proven {
  const r = steps.run("format", () => parseReceipt(file), () => `a receipt of ${file.length} bytes`);
  const checkpoint = steps.run("checkpoint", () => signed(r, policy), (c) => saySigned(c, policy));
  steps.run("inclusion", () => included(r, checkpoint), () => `entry ${r.index} of ${checkpoint.size}`);
  const entry = tryEntry(r.entry);
  const first = steps.run("first", () => firstCovering(r, checkpoint, policy), sayFirst);
  const proof = entry?.kind === "proof" ? entry : undefined;
  const challenge = steps.run("challenge", () => challenged(r, proof, policy), (c) => sayChallenge(c, proof));
  const times = { t1: challenge && quorumSince(policy.quorum, challenge), t2: latest(first, checkpoint, policy) };
  if (proof) steps.run("interval", () => within(proof, times, lenient), () => sayInterval(times));
  return {
    ...times,
    origin: checkpoint.origin,
    index: r.index,
    leaf: r.entry,
    entry,
    checkpoint,
    seen: quorumTime(policy.quorum, checkpoint),
    audited: policy.auditors !== undefined && quorumTime(policy.auditors, checkpoint) !== undefined,
  };
}

function signed(r: Receipt, policy: Policy): Opened {
  const c = openCheckpoint(r.checkpoint, policy, "checkpoint");
  if (policy.quorum !== "none" && quorumTime(policy.quorum, c) === undefined) {
    refuse("checkpoint", "the quorum of witnesses is not met");
  }
  return c;
}

function saySigned(c: Opened, policy: Policy): string {
  const t = quorumTime(policy.quorum, c);
  const by = t === undefined ? "no witness was asked for" : `witnesses agree, at ${t}`;
  return `size ${c.size}, signed by the log; ${by}`;
}

function included(r: Receipt, c: Opened): void {
  if (!includes(leafHash(r.entry), r.index, c.size, r.hashes, c.root)) {
    refuse("inclusion", `the proof does not lead from entry ${r.index} to the checkpoint's root`);
  }
}

function firstCovering(r: Receipt, c: Opened, policy: Policy): Opened | undefined {
  if (!r.first) return undefined;
  const first = openCheckpoint(r.first.checkpoint, policy, "first");
  if (first.origin !== c.origin) refuse("first", "another log's checkpoint");
  if (first.size > c.size) refuse("first", `size ${first.size}: the receipt's is ${c.size}`);
  if (first.size === c.size && !equal(first.root, c.root)) refuse("first", "another root at one size");
  if (!includes(leafHash(r.entry), r.index, first.size, r.first.hashes, first.root)) {
    refuse("first", "it does not cover the entry");
  }
  return first;
}

function sayFirst(first: Opened | undefined): string | Absent {
  return first ? `covered first by size ${first.size}` : absent("the receipt was not moved");
}

/** The challenge's checkpoint, if its log is in the policy. */
function challenged(r: Receipt, proof: Proof | undefined, policy: Policy): Opened | undefined {
  const fresh = proof?.fresh;
  if (!fresh) {
    if (r.challenge) refuse("challenge", "the entry names no challenge");
    return undefined;
  }
  if (!r.challenge) return refuse("challenge", "the challenge's checkpoint is missing");
  if (digest(r.challenge) !== fresh.checkpoint) refuse("challenge", "not the checkpoint that the entry names");
  const note = parseNote(r.challenge);
  if (!names(fresh, note)) refuse("challenge", "the entry names another origin, size or root");
  if (!policy.logs.some((k) => k.name === note.origin)) return undefined;
  return openCheckpoint(r.challenge, policy, "challenge");
}

function names(fresh: Fresh, c: { origin: string; size: bigint; root: Uint8Array }): boolean {
  return fresh.origin === c.origin && fresh.size === c.size && fresh.root === toHex(c.root);
}

function sayChallenge(c: Opened | undefined, proof: Proof | undefined): string | Absent {
  if (c) return `made after size ${c.size} of ${c.origin}`;
  return absent(proof?.fresh ? "the policy does not list the challenge's log" : "historical evidence");
}

/** t2: of both checkpoints that cover the entry, the earlier time. */
function latest(first: Opened | undefined, c: Opened, policy: Policy): bigint | undefined {
  const own = quorumTime(policy.quorum, c);
  const t = first && quorumTime(policy.quorum, first);
  return t === undefined || (own !== undefined && own < t) ? own : t;
}

function within(proof: Proof, { t1, t2 }: Times, lenient: Leniency): void {
  if (lenient.anyInterval) return;
  const at = BigInt(proof.appraised);
  if (t1 !== undefined && at < t1 - SKEW) refuse("interval", `appraised at ${at}, before ${t1}`);
  if (t2 !== undefined && at > t2 + SKEW) refuse("interval", `appraised at ${at}, after ${t2}`);
}

function sayInterval({ t1, t2 }: Times): string | Absent {
  if (t1 === undefined && t2 === undefined) return absent("no witness gives a time");
  return `made ${t1 === undefined ? "" : `after ${t1} `}${t2 === undefined ? "" : `before ${t2}`}`.trim();
}
