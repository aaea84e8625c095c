/** docs/format.md section 9.1: an auditor's note of the entries that it could not verify. */
import { octetsOf, toHex } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { base64url, checked, constant, hex, list, object, parse, text, uint64string, type Cursor, type Of } from "./encoding.js";
import { refuse, under } from "./errors.js";
import { MAX_EXCEPTIONS } from "./limits.js";
import { verifyRawMLDSA, type Checkpoint } from "./note.js";
import type { Policy } from "./tlogpolicy.js";
import { MLDSA44, type VerifierKey } from "./vkey.js";

const STEP = "exceptions";
/** How the name of a key ends that signs notes of exceptions. */
const SUFFIX = "/except";

const signature = object({ id: hex(4), sig: base64url(4096) });

const auditor = checked(text(1, 255), isAuditor, "name of a key that signs notes");

function isAuditor(s: string): boolean {
  return s.endsWith(SUFFIX) && s.length > SUFFIX.length && !s.includes(" ") && !s.includes("+");
}

const note = object({
  v: constant(1),
  auditor,
  origin: text(1, 255),
  size: uint64string,
  root: hex(32),
  except: list(uint64string, 1, 4096),
  signatures: signed,
});

/** The signatures, with the octets that they sign: all that stands before the member. */
function signed(c: Cursor) {
  const message = octetsOf("poclog/exceptions/v1\n" + c.before(',"signatures":'));
  return { message, all: list(signature, 1, 4)(c) };
}

export type Exceptions = Of<typeof note>;

export function parseExceptions(file: Uint8Array): Exceptions {
  return parse(file, MAX_EXCEPTIONS, (c) => {
    const n = note(c);
    rising(c, n.except.map((e) => e.toString().padStart(20, "0")));
    rising(c, n.signatures.all.map((s) => s.id));
    if ((n.except.at(-1) as bigint) >= n.size) c.fail("an entry beyond the tree");
    return n;
  });
}

function rising(c: Cursor, keys: string[]): void {
  for (let i = 1; i < keys.length; i++) if ((keys[i - 1] as string) >= (keys[i] as string)) c.fail("a list out of order");
}

/** Whether a key signs for all entries of a tree but some: it makes nothing audited. */
export function signsExceptions(key: VerifierKey): boolean {
  return key.name.endsWith(SUFFIX);
}

/** The witnesses' keys that a receipt's notes stand for: their auditors verified the entry. */
export function standsFor(files: Uint8Array[], policy: Policy, c: Checkpoint, index: bigint): Set<VerifierKey> {
  const out = new Set<VerifierKey>();
  let last = "";
  for (const file of files) {
    const n = under(STEP, () => parseExceptions(file));
    if (n.auditor <= last) refuse(STEP, `the note of ${n.auditor} after that of ${last}`);
    if (n.origin !== c.origin || n.size !== c.size || n.root !== toHex(c.root)) {
      refuse(STEP, `the note of ${n.auditor} is on another tree than the receipt's checkpoint`);
    }
    last = n.auditor;
    const types = verified(n, policy);
    if (n.except.includes(index)) continue;
    const name = n.auditor.slice(0, -SUFFIX.length);
    for (const w of policy.witnesses) if (w.key.name === name && types.has(w.key.type)) out.add(w.key);
  }
  return out;
}

/** The types of the policy's keys that signed a note. */
function verified(n: Exceptions, policy: Policy): Set<number> {
  const types = new Set<number>();
  for (const s of n.signatures.all) {
    const key = policy.witnesses.map((w) => w.key).find((k) => k.name === n.auditor && k.id === s.id);
    if (!key) continue;
    const right = key.type === MLDSA44 ? verifyRawMLDSA : verifyEd25519;
    if (!right(s.sig, n.signatures.message, key.key)) refuse(STEP, `a signature of ${n.auditor} is wrong`);
    types.add(key.type);
  }
  return types;
}
