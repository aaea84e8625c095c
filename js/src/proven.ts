/** docs/format.md section 10, steps 1 to 6: what a receipt proves of an entry, under a policy. */
import { digest, equal, toHex } from "./bytes.js";
import { parseEntry, tryEntry, type Entry, type Fresh, type Proof } from "./entry.js";
import { PoclogError, refuse } from "./errors.js";
import { signsExceptions, standsFor } from "./exceptions.js";
import { includes, leafHash } from "./merkle.js";
import { openCheckpoint, parseCheckpoint, type Opened } from "./note.js";
import { parseReceipt, type Receipt } from "./receipt.js";
import { absent, Steps, type Absent } from "./steps.js";
import { met, type Policy, type Quorum } from "./tlogpolicy.js";
import type { VerifierKey } from "./vkey.js";

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
  /** The quorum saw the receipt's checkpoint then, or later. */
  seen: bigint | undefined;
  /** Keys of the policy's witnesses that notes of exceptions stand for. */
  noted: Set<VerifierKey>;
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
export const PROOF_STEPS = ["format", "checkpoint", "inclusion", "first", "challenge", "exceptions", "interval"];

export interface Leniency {
  /** Let pass a leaf that is malformed, or was not appraised between t1 and t2: a log published it. */
  anyLeaf?: boolean;
}

/** Makes steps 1 to 6. It judges neither the entry's kind nor what it says. */
export function proveReceipt(file: Uint8Array, policy: Policy, steps: Steps, lenient: Leniency = {}): Proven {
  const r = steps.run("format", () => parsed(file, lenient), () => `a receipt of ${file.length} bytes`);
  const checkpoint = steps.run("checkpoint", () => signed(r, policy), (c) => saySigned(c, policy));
  steps.run("inclusion", () => included(r, checkpoint), () => `entry ${r.index} of ${checkpoint.size}`);
  const entry = tryEntry(r.entry);
  const first = steps.run("first", () => firstCovering(r, checkpoint, policy), sayFirst);
  const proof = entry?.kind === "proof" ? entry : undefined;
  const known = entry !== undefined && entry.kind !== "unknown";
  const challenge = steps.run("challenge", () => (known ? challenged(r, proof, policy) : undefined), (c) => sayChallenge(c, proof));
  const noted = steps.run("exceptions", () => standsFor(r.exceptions, policy, checkpoint, r.index), (s) => sayNoted(r, s));
  const times = { t1: challenge && quorumSince(policy.quorum, challenge), t2: latest(first, checkpoint, policy) };
  if (proof && !lenient.anyLeaf) steps.run("interval", () => checkInterval(proof, times), () => sayInterval(times));
  if (entry && !proof) steps.run("interval", () => undefined, () => absent("no proof"));
  return {
    ...times,
    origin: checkpoint.origin,
    index: r.index,
    leaf: r.entry,
    entry,
    checkpoint,
    seen: quorumSince(policy.quorum, checkpoint),
    noted,
  };
}

function sayNoted(r: Receipt, noted: Set<VerifierKey>): string | Absent {
  if (r.exceptions.length === 0) return absent("no auditor made an exception");
  return noted.size > 0 ? "the entry is not among an auditor's exceptions" : "no note of the policy's auditors stands for the entry";
}

/** Whether a witness or group of the policy verified the entry: by cosignatures, or by notes that do not list it. */
export function audited(p: Proven, policy: Policy, group: string): boolean {
  const q = policy.names.get(group);
  const did = (k: VerifierKey) => p.noted.has(k) || (p.checkpoint.times.has(k) && !signsExceptions(k));
  return q !== undefined && met(q, (w) => (did(w.key) ? 0n : undefined), () => false) !== undefined;
}

function parsed(file: Uint8Array, lenient: Leniency): Receipt {
  const r = parseReceipt(file);
  if (!lenient.anyLeaf) parseEntry(r.entry);
  return r;
}

function signed(r: Receipt, policy: Policy): Opened {
  const c = openCheckpoint(r.checkpoint, policy, "checkpoint");
  if (!isMet(policy.quorum, c)) refuse("checkpoint", "the quorum of witnesses is not met");
  return c;
}

export function isMet(q: Quorum, c: Opened): boolean {
  return q === "none" || quorumTime(q, c) !== undefined;
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

/** The challenge's checkpoint, if the policy vouches for it. */
function challenged(r: Receipt, proof: Proof | undefined, policy: Policy): Opened | undefined {
  const fresh = proof?.fresh;
  if (!fresh) {
    if (r.challenge) refuse("challenge", "the entry names no challenge");
    return undefined;
  }
  if (!r.challenge) return refuse("challenge", "the challenge's checkpoint is missing");
  if (digest(r.challenge) !== fresh.checkpoint) refuse("challenge", "not the checkpoint that the entry names");
  if (!names(fresh, parseCheckpoint(r.challenge))) refuse("challenge", "the entry names another origin, size or root");
  return vouched(r.challenge, policy);
}

/** A checkpoint that a log of the policy signed, and the quorum; undefined where the policy does not vouch for it. */
export function vouched(checkpoint: Uint8Array, policy: Policy): Opened | undefined {
  try {
    const c = openCheckpoint(checkpoint, policy, "challenge");
    return isMet(policy.quorum, c) ? c : undefined;
  } catch (e) {
    if (e instanceof PoclogError) return undefined;
    throw e;
  }
}

function names(fresh: Fresh, c: { origin: string; size: bigint; root: Uint8Array }): boolean {
  return fresh.origin === c.origin && fresh.size === c.size && fresh.root === toHex(c.root);
}

function sayChallenge(c: Opened | undefined, proof: Proof | undefined): string | Absent {
  if (c) return `made after size ${c.size} of ${c.origin}`;
  return absent(proof?.fresh ? "the policy does not vouch for the challenge's checkpoint" : "historical evidence");
}

/** t2: of both checkpoints that cover the entry, the earlier time. */
function latest(first: Opened | undefined, c: Opened, policy: Policy): bigint | undefined {
  const own = quorumTime(policy.quorum, c);
  const t = first && quorumTime(policy.quorum, first);
  return t === undefined || (own !== undefined && own < t) ? own : t;
}

/** An entry was appraised between t1 and t2, as far as they are known. */
export function checkInterval(proof: Proof, { t1, t2 }: Times): void {
  const at = BigInt(proof.appraised);
  if (t1 !== undefined && at < t1 - SKEW) refuse("interval", `appraised at ${at}, before ${t1}`);
  if (t2 !== undefined && at > t2 + SKEW) refuse("interval", `appraised at ${at}, after ${t2}`);
}

function sayInterval({ t1, t2 }: Times): string | Absent {
  if (t1 === undefined && t2 === undefined) return absent("no witness gives a time");
  return `made ${t1 === undefined ? "" : `after ${t1} `}${t2 === undefined ? "" : `before ${t2}`}`.trim();
}
