/** docs/format.md section 15: the file that carries what a rule found. */
import { digest, octetsOf } from "./bytes.js";
import { base64url, checked, constant, hex, list, object, optional, parse, text, type Cursor, type Of } from "./encoding.js";
import { MAX_CONTRADICTION, MAX_ENVELOPE, MAX_HASHES, MAX_RECEIPT, MAX_TLOG_POLICY } from "./limits.js";

const claim = object({
  receipt: base64url(MAX_RECEIPT),
  covered: optional(list(hex(32), 1, MAX_HASHES)),
});

const file = object({
  v: constant(1),
  rule: checked(text(1, 40), isRuleID, "id of a rule"),
  policy: optional(base64url(MAX_TLOG_POLICY)),
  claims: list(claim, 1, 2),
  evidence: optional(evidence),
  sha256: seal,
});

function isRuleID(s: string): boolean {
  for (let i = 0; i < s.length; i++) {
    if ((s.charAt(i) < "a" || s.charAt(i) > "z") && s.charAt(i) !== "-") return false;
  }
  return true;
}

function evidence(c: Cursor): Uint8Array[] {
  const files = list(base64url(MAX_ENVELOPE), 1, 8)(c);
  const names = files.map(digest);
  for (let i = 1; i < names.length; i++) {
    if ((names[i - 1] as string) >= (names[i] as string)) c.fail("evidence out of order");
  }
  return files;
}

/** The digest of all that stands before its member. */
function seal(c: Cursor): string {
  const before = digest(octetsOf(c.before(',"sha256":')));
  const said = hex(32)(c);
  if (said !== before) c.fail("the digest is of something else");
  return said;
}

export type Contradiction = Of<typeof file>;

export function parseContradiction(octets: Uint8Array): Contradiction {
  return parse(octets, MAX_CONTRADICTION, file);
}
