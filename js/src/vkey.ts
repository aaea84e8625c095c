/** C2SP signed-note: names of keys, keys and their ids. */
import { fromBase64, octetsOf, sha256, shown, toHex } from "./bytes.js";
import { PoclogError } from "./errors.js";

/** Types of signatures: c2sp.org/signed-note and c2sp.org/tlog-cosignature. */
export const ED25519 = 0x01;
export const COSIGNATURE = 0x04;
export const MLDSA44 = 0x06;

const LENGTHS: Record<number, number> = { [ED25519]: 32, [COSIGNATURE]: 32, [MLDSA44]: 1312 };

/** The longest name that an ML-DSA-44 signature covers. */
const MAX_SIGNED_NAME = 255;

/** A public key that signs notes under a name. */
export interface VerifierKey {
  name: string;
  /** 8 digits. */
  id: string;
  type: number;
  key: Uint8Array;
}

/** Spaces of Unicode, which no name may have. */
const SPACES = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;

/** Whether a name, as octets, can be a key's. */
export function isKeyName(name: string): boolean {
  if (name === "" || name.includes("+")) return false;
  const decoded = utf8(octetsOf(name));
  return decoded !== undefined && !SPACES.test(decoded);
}

/** The text of octets that are UTF-8, else undefined. */
export function utf8(octets: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(octets);
  } catch {
    return undefined;
  }
}

/** What is wrong with a verifier key, and which rule of section 13 it breaks. */
export interface Fault {
  rule: "key" | "key-type";
  wrong: string;
}

/** Reads name+id+base64(type ‖ key), or says what is wrong with it. */
export function parseVerifierKey(text: string): VerifierKey | Fault {
  const key = read(text);
  return typeof key === "string" ? { rule: "key", wrong: key } : key;
}

function read(text: string): VerifierKey | Fault | string {
  const plus = text.indexOf("+");
  const second = text.indexOf("+", plus + 1);
  if (plus < 0 || second < 0) return "want name+id+key";
  const name = text.slice(0, plus);
  const id = text.slice(plus + 1, second);
  if (!isKeyName(name)) return `${JSON.stringify(shown(name))} can name no key`;
  let octets: Uint8Array;
  try {
    octets = fromBase64(text.slice(second + 1));
  } catch (e) {
    if (e instanceof PoclogError) return e.detail;
    throw e;
  }
  const [type] = octets;
  if (type === undefined) return "no octets";
  const key = octets.subarray(1);
  if (LENGTHS[type] === undefined) return { rule: "key-type", wrong: `type 0x${type.toString(16).padStart(2, "0")} is unknown` };
  if (type === MLDSA44 && name.length > MAX_SIGNED_NAME) return `a name of ${name.length} bytes: want at most ${MAX_SIGNED_NAME}`;
  if (key.length !== LENGTHS[type]) return `${key.length} octets: want ${LENGTHS[type]}`;
  const want = toHex(sha256(octetsOf(name + "\n"), octets).subarray(0, 4));
  if (id !== want) return `id ${shown(id)}: want ${want}`;
  return { name, id, type, key };
}
