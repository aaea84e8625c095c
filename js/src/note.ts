/** C2SP signed-note, tlog-checkpoint and tlog-cosignature: a checkpoint and who signed it. */
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import { concat, equal, fromBase64, fromLaxBase64, latin1, octetsOf, sha256, shown, toHex, uint64 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { refuse, under } from "./errors.js";
import { MAX_CHECKPOINT } from "./limits.js";
import { ED25519, isKeyName, MLDSA44, utf8, type VerifierKey } from "./vkey.js";
import type { Policy } from "./tlogpolicy.js";

const DASH = "\u00e2\u0080\u0094 ";
const MAX_SIGNATURES = 100;
const MAX_SIZE = (1n << 63n) - 1n;
const MAX_ORIGIN = 255;
/** The last second of the year 9999. */
const MAX_TIME = 253402300799n;

export interface Checkpoint {
  origin: string;
  size: bigint;
  root: Uint8Array;
}

interface Line {
  name: string;
  id: string;
  signature: Uint8Array;
  /** It is as base64 writes it. */
  exact: boolean;
}

/** A note in parts; nothing in it is verified. */
interface Note extends Checkpoint {
  text: string;
  lines: Line[];
}

const fail = (detail: string): never => refuse("format", detail);

/** The text of a checkpoint, and its signature lines: what stands after the last empty line. */
function split(file: Uint8Array): [text: string, signatures: string | undefined] {
  if (file.length > MAX_CHECKPOINT) fail(`a checkpoint of ${file.length} bytes: want at most ${MAX_CHECKPOINT}`);
  const all = latin1(file);
  const end = all.lastIndexOf("\n\n");
  return end < 0 ? [all, undefined] : [all.slice(0, end + 1), all.slice(end + 2)];
}

/** What a checkpoint says, signed or not. Lines of signatures need only begin as such. */
export function parseCheckpoint(file: Uint8Array): Checkpoint {
  const [text, signatures] = split(file);
  const lines = signatures === undefined ? [] : withoutLast(signatures, "\n").split("\n");
  if (!lines.every((l) => l.startsWith(DASH))) fail("a line that is no signature");
  return checkpoint(text);
}

function withoutLast(s: string, end: string): string {
  return s.endsWith(end) ? s.slice(0, -end.length) : s;
}

function parseNote(file: Uint8Array): Note {
  const [text, signatures] = split(file);
  if (!isText(file)) fail("not UTF-8, or a control character");
  if (!signatures?.endsWith("\n")) return fail("no signatures");
  return { ...checkpoint(text), text, lines: signatureLines(signatures) };
}

/** Whether octets are UTF-8 without control characters but line feeds. */
function isText(octets: Uint8Array): boolean {
  return utf8(octets) !== undefined && octets.every((o) => o >= 0x20 || o === 0x0a);
}

function checkpoint(text: string): Checkpoint {
  const lines = text.split("\n");
  if (lines.length !== 4 || lines[3] !== "") fail("a checkpoint has three lines");
  const [origin, digits, root] = lines as [string, string, string];
  if (origin === "" || origin.length > MAX_ORIGIN || !isText(octetsOf(origin))) fail("a checkpoint's origin");
  const size = decimal(digits);
  if (size === undefined || size > MAX_SIZE) return fail(`size ${shown(digits)}`);
  const hash = fromBase64(root);
  if (hash.length !== 32) fail("a root is 32 octets");
  if (size === 0n && !equal(hash, sha256())) fail("the empty tree has another root");
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

function signatureLines(text: string): Line[] {
  const lines = text.slice(0, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) fail(`${lines.length} signatures: want at most ${MAX_SIGNATURES}`);
  return lines.map((line) => {
    if (!line.startsWith(DASH)) fail("a line that is no signature");
    const [name, encoded, rest] = line.slice(DASH.length).split(" ");
    if (name === undefined || encoded === undefined || rest !== undefined) return fail("a signature line");
    if (!isKeyName(name)) fail("a signature without a name");
    const octets = fromLaxBase64(encoded);
    if (octets.length < 5) fail("a signature that is too short");
    return { name, id: toHex(octets.subarray(0, 4)), signature: octets.subarray(4), exact: isExact(encoded) };
  });
}

function isExact(encoded: string): boolean {
  try {
    fromBase64(encoded);
    return true;
  } catch {
    return false;
  }
}

/** When a witness cosigned: the first and the last time. */
export interface Times {
  least: bigint;
  most: bigint;
}

/** A checkpoint of a log of the policy, and what its witnesses said of it. */
export interface Opened extends Checkpoint {
  times: Map<VerifierKey, Times>;
}

/** Opens a signed checkpoint under a policy, but for its quorum; what is wrong refuses as a step. */
export function openCheckpoint(file: Uint8Array, policy: Policy, step: string): Opened {
  const note = under(step, () => parseNote(file));
  const logs = policy.logs.filter((k) => k.name === note.origin);
  if (logs.length === 0) refuse(step, `the policy does not list ${shown(note.origin)}`);
  const witnesses = policy.witnesses.map((w) => w.key);
  const known = [...policy.logs, ...witnesses];
  const opened: Opened = { origin: note.origin, size: note.size, root: note.root, times: new Map() };
  let signed = false;
  for (const line of note.lines) {
    const key = known.find((k) => k.name === line.name && k.id === line.id);
    if (!key) continue;
    if (!line.exact || !verifyLine(key, line, note)) refuse(step, `the signature of ${shown(line.name)} is wrong`);
    const t = key.type === ED25519 ? undefined : timestamp(line);
    if (t !== undefined && t > MAX_TIME) refuse(step, `the time ${t} of ${shown(line.name)} is none`);
    if (logs.includes(key)) signed = true;
    if (witnesses.includes(key)) addTime(opened, key, t ?? 0n, step);
  }
  if (!signed) refuse(step, `not signed by ${shown(note.origin)}`);
  return opened;
}

function addTime(c: Opened, key: VerifierKey, t: bigint, step: string): void {
  if (t === 0n) refuse(step, `${shown(key.name)} cosigned at no time`);
  const before = c.times.get(key) ?? { least: t, most: t };
  c.times.set(key, { least: t < before.least ? t : before.least, most: t > before.most ? t : before.most });
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
  if (key.type === MLDSA44) return verifyMLDSA(key, s.subarray(8), t, note);
  return verifyEd25519(s.subarray(8), octetsOf(`cosignature/v1\ntime ${t}\n${note.text}`), key.key);
}

function verifyMLDSA(key: VerifierKey, signature: Uint8Array, t: bigint, note: Note): boolean {
  const message = concat(
    octetsOf("subtree/v1\n\0"),
    octetsOf(String.fromCharCode(key.name.length) + key.name),
    uint64(t),
    octetsOf(String.fromCharCode(note.origin.length) + note.origin),
    uint64(0n),
    uint64(note.size),
    note.root,
  );
  return verifyRawMLDSA(signature, message, key.key);
}

/** ML-DSA-44, FIPS 204, with an empty context. */
export function verifyRawMLDSA(signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  try {
    return ml_dsa44.verify(signature, message, key);
  } catch {
    return false;
  }
}
