/** docs/format.md section 11: what is posted to a log. */
import { p256, p384 } from "@noble/curves/nist.js";
import { sha384 } from "@noble/hashes/sha2.js";
import { parseAppraisalPolicy, type PublisherKey } from "./appraisalpolicy.js";
import { concat, equal, octetsOf, sha256, toHex } from "./bytes.js";
import { base64, base64url, constant, list, object, oneOf, optional, parse, text, time, type Of } from "./encoding.js";
import { verifyEd25519 } from "./ed25519.js";
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

const signature = object({ keyid: text(1, 64), sig: base64(160) });

const envelope = object({
  payloadType: oneOf(TYPE_BUNDLE, TYPE_SUBMISSION),
  payload: base64(MAX_SUBMISSION),
  signatures: list(signature, 1, 16),
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
    if (!verify(key, message, s.sig)) refuse(STEP, `the signature of ${s.keyid} is wrong`);
    signers.add(name);
  }
  if (signers.size < listed.threshold) refuse(STEP, `${signers.size} of ${listed.threshold} signatures`);
  return [...signers].sort();
}

/** DSSE's pre-authentication encoding. */
function preAuthentication(type: string, payload: Uint8Array): Uint8Array {
  return concat(octetsOf(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload);
}

function verify(key: PublisherKey, message: Uint8Array, sig: Uint8Array): boolean {
  try {
    if (key.algorithm === "ed25519") return verifyEd25519(sig, message, key.octets);
    const options = { format: "der", prehash: false, lowS: false } as const;
    return key.algorithm === "p256"
      ? p256.verify(sig, sha256(message), key.octets, options)
      : p384.verify(sig, sha384(message), key.octets, options);
  } catch {
    return false;
  }
}

/** A key's fingerprint as OpenSSH writes it. */
function fingerprint(key: PublisherKey): string {
  const wire =
    key.algorithm === "ed25519"
      ? concat(field(octetsOf("ssh-ed25519")), field(key.octets))
      : concat(
          field(octetsOf(`ecdsa-sha2-nist${key.algorithm}`)),
          field(octetsOf(`nist${key.algorithm}`)),
          field(key.octets),
        );
  return "SHA256:" + btoa(String.fromCharCode(...sha256(wire))).replaceAll("=", "");
}

function field(octets: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, octets.length);
  return concat(length, octets);
}
