/** docs/format.md section 11: what is posted to a log. */
import { parseAppraisalPolicy } from "./appraisalpolicy.js";
import { equal, sha256, toHex } from "./bytes.js";
import { fingerprint, preAuthentication, signatures, verifySignature } from "./dsse.js";
import { base64, base64url, constant, object, oneOf, optional, parse, time, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import { MAX_BUNDLE, MAX_COLLATERAL, MAX_ENVELOPE, MAX_SUBMISSION } from "./limits.js";

const submission = object({
  v: constant(1),
  bundle: base64url(MAX_BUNDLE),
  collateral: optional(base64url(MAX_COLLATERAL)),
  judged: optional(time),
});

export type Submission = Of<typeof submission>;

export function parseSubmission(file: Uint8Array): Submission {
  return parse(file, MAX_SUBMISSION, submission);
}

const TYPE_BUNDLE = "application/vnd.poclog.bundle+json";
const TYPE_SUBMISSION = "application/vnd.poclog.submission+json";

const envelope = object({
  payloadType: oneOf(TYPE_BUNDLE, TYPE_SUBMISSION),
  payload: base64(MAX_SUBMISSION),
  signatures,
});

/** A DSSE envelope, and the bundle that it carries. */
export type Envelope = Of<typeof envelope> & { bundle: Uint8Array };

export function parseEnvelope(file: Uint8Array): Envelope {
  const e = parse(file, MAX_ENVELOPE, envelope);
  if (e.payloadType === TYPE_BUNDLE) {
    if (e.payload.length > MAX_BUNDLE) refuse("format", `a bundle of ${e.payload.length} bytes: want at most ${MAX_BUNDLE}`);
    return { ...e, bundle: e.payload };
  }
  return { ...e, bundle: parseSubmission(e.payload).bundle };
}

const STEP = "publisher.signature";

/**
 * The check publisher.signature: digests of the keys that signed, ascending. Envelope is undefined
 * for a bundle that came without one.
 */
export function checkPublishers(
  policyFile: Uint8Array,
  bundle: Uint8Array,
  envelopeFile: Uint8Array | undefined,
): string[] {
  const listed = parseAppraisalPolicy(policyFile).publishers;
  if (!listed) {
    if (envelopeFile) refuse(STEP, "the policy lists no publishers, and the submission is signed");
    return [];
  }
  if (!envelopeFile) refuse(STEP, "the submission is not signed");
  const e = parseEnvelope(envelopeFile);
  if (!equal(e.bundle, bundle)) refuse(STEP, "the envelope is another bundle's");
  const message = preAuthentication(e.payloadType, e.payload);
  const byID = new Map(listed.keys.map((k) => [fingerprint(k), k]));
  const signers = new Set<string>();
  for (const s of e.signatures) {
    const key = byID.get(s.keyid);
    if (!key) refuse(STEP, `the policy does not list ${s.keyid}`);
    const name = toHex(sha256(key.der));
    if (signers.has(name)) refuse(STEP, `${s.keyid} signs twice`);
    if (!verifySignature(key, message, s.sig)) refuse(STEP, `the signature of ${s.keyid} is wrong`);
    signers.add(name);
  }
  if (signers.size < listed.threshold) refuse(STEP, `${signers.size} of ${listed.threshold} signatures`);
  return [...signers].sort();
}
