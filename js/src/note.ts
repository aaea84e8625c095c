/** C2SP signed-note, tlog-checkpoint and tlog-cosignature: a checkpoint and who signed it. */
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import { concat, fromBase64, latin1, octetsOf, shown, toHex, uint64 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { PoclogError, refuse } from "./errors.js";
import { ED25519, isKeyName, MLDSA44, utf8, type VerifierKey } from "./vkey.js";
import type { Policy } from "./tlogpolicy.js";

const DASH = "\u00e2\u0080\u0094 ";
const MAX_NOTE = 1 << 20;
const MAX_SIGNATURES = 100;
const MAX_TIME = (1n << 63n) - 1n;

export interface Checkpoint {
  origin: string;
  size: bigint;
  root: Uint8Array;
}

interface Line {
  name: string;
  id: string;
  signature: Uint8Array;
}

/** A note in parts; nothing in it is verified. */
export interface Note extends Checkpoint {
  text: string;
  lines: Line[];
}

const fail = (detail: string): never => refuse("format", detail);

/** Reads a signed checkpoint of exactly three lines. */
export function parseNote(file: Uint8Array): Note {
  if (file.length > MAX_NOTE) fail(`${file.length} bytes: want at most ${MAX_NOTE}`);
  if (utf8(file) === undefined) fail("not UTF-8");
  const all = latin1(file);
  for (let i = 0; i < all.length; i++) {
    if (all.charCodeAt(i) < 0x20 && all.charAt(i) !== "\n") fail("a control character");
  }
  const end = all.lastIndexOf("\n\n");
  if (end < 0 || !all.endsWith("\n")) fail("no signatures");
  const text = all.slice(0, end + 1);
  return { ...checkpoint(text), text, lines: signatures(all.slice(end + 2)) };
}

function checkpoint(text: string): Checkpoint {
  const lines = text.split("\n");
  if (lines.length !== 4) fail("a checkpoint has three lines");
  const [origin, digits, root] = lines as [string, string, string, string];
  if (origin === "") fail("a checkpoint without origin");
  const size = decimal(digits);
  if (size === undefined || size > MAX_TIME) return fail(`size ${shown(digits)}`);
  const hash = fromBase64(root);
  if (hash.length !== 32) fail("a root is 32 octets");
  return { origin, size, root: hash };
}

/** A decimal number of at most 20 digits without leading zeros, or undefined. */
export function decimal(digits: string): bigint | undefined {
  if (digits === "" || digits.length > 20 || (digits.length > 1 && digits.startsWith("0"))) return undefined;
  for (let i = 0; i < digits.length; i++) {
    if (digits.charAt(i) < "0" || digits.charAt(i) > "9") return undefined;
  }
  return BigInt(digits);
}

function signatures(text: string): Line[] {
  const lines = text.slice(0, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) fail(`${lines.length} signatures: want at most ${MAX_SIGNATURES}`);
  return lines.map((line) => {
    if (!line.startsWith(DASH)) fail("a line that is no signature");
    const [name, encoded, rest] = line.slice(DASH.length).split(" ");
    if (name === undefined || encoded === undefined || rest !== undefined) return fail("a signature line");
    if (!isKeyName(name)) fail("a signature without a name");
    const octets = fromBase64(encoded);
    if (octets.length < 5) fail("a signature that is too short");
    return { name, id: toHex(octets.subarray(0, 4)), signature: octets.subarray(4) };
  });
}

/** A checkpoint of a log of the policy, and what its witnesses said of it. */
export interface Opened extends Checkpoint {
  /** Of each witness's key, by its octets: the first and the last time in its cosignatures. */
  times: Map<VerifierKey, { least: bigint; most: bigint }>;
}

/** Opens a signed checkpoint under a policy: steps refuse with the given id. */
export function openCheckpoint(file: Uint8Array, policy: Policy, step: string): Opened {
  const note = parsed(file, step);
  const logs = policy.logs.filter((k) => k.name === note.origin);
  if (logs.length === 0) refuse(step, `the policy does not list ${shown(note.origin)}`);
  const witnesses = policy.witnesses.map((w) => w.key);
  let signed = false;
  const times: Opened["times"] = new Map();
  for (const line of note.lines) {
    const same = (k: VerifierKey) => k.name === line.name && k.id === line.id;
    const log = logs.find(same);
    if (log) {
      if (!verifyLine(log, line, note)) refuse(step, `the signature of ${shown(line.name)} is wrong`);
      signed = true;
      continue;
    }
    const witness = witnesses.find(same);
    if (!witness) continue;
    if (!verifyLine(witness, line, note)) refuse(step, `the cosignature of ${shown(line.name)} is wrong`);
    const t = timestamp(line);
    if (t === 0n) continue;
    const before = times.get(witness) ?? { least: t, most: t };
    times.set(witness, { least: t < before.least ? t : before.least, most: t > before.most ? t : before.most });
  }
  if (!signed) refuse(step, `not signed by ${shown(note.origin)}`);
  return { origin: note.origin, size: note.size, root: note.root, times };
}

function parsed(file: Uint8Array, step: string): Note {
  try {
    return parseNote(file);
  } catch (e) {
    if (e instanceof PoclogError) refuse(step, e.detail);
    throw e;
  }
}

function timestamp(line: Line): bigint {
  const s = line.signature;
  return new DataView(s.buffer, s.byteOffset, 8).getBigUint64(0);
}

function verifyLine(key: VerifierKey, line: Line, note: Note): boolean {
  const s = line.signature;
  if (key.type === ED25519) return verifyEd25519(s, octetsOf(note.text), key.key);
  if (s.length !== 8 + (key.type === MLDSA44 ? 2420 : 64)) return false;
  const t = timestamp(line);
  if (t > MAX_TIME) return false;
  if (key.type === MLDSA44) return verifyMLDSA(key, s.subarray(8), t, note);
  return verifyEd25519(s.subarray(8), octetsOf(`cosignature/v1\ntime ${t}\n${note.text}`), key.key);
}

function verifyMLDSA(key: VerifierKey, signature: Uint8Array, t: bigint, note: Note): boolean {
  if (key.name.length > 255 || note.origin.length > 255) return false;
  const message = concat(
    octetsOf("subtree/v1\n\0"),
    octetsOf(String.fromCharCode(key.name.length) + key.name),
    uint64(t),
    octetsOf(String.fromCharCode(note.origin.length) + note.origin),
    uint64(0n),
    uint64(note.size),
    note.root,
  );
  try {
    return ml_dsa44.verify(signature, message, key.key);
  } catch {
    return false;
  }
}
