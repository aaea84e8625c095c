/** docs/format.md section 11: signatures over a payload and its type, and the keys that make them. */
import { p256, p384 } from "@noble/curves/nist.js";
import { sha384 } from "@noble/hashes/sha2.js";
import { concat, equal, fromBase64, fromHex, octetsOf, sha256 } from "./bytes.js";
import { base64, list, object, text, type Cursor, type Of } from "./encoding.js";
import { verifyEd25519 } from "./ed25519.js";

const signature = object({ keyid: text(1, 64), sig: base64(160) });

/** The signatures of an envelope. */
export const signatures = list(signature, 1, 16);

export type Signature = Of<typeof signature>;

/** A public key as DER SubjectPublicKeyInfo. */
export interface PublicKey {
  algorithm: "ed25519" | "p256" | "p384";
  /** Of Ed25519 32 octets, of a curve an uncompressed point. */
  octets: Uint8Array;
  der: Uint8Array;
  /** The same in base64. */
  text: string;
}

const PREFIXES = {
  ed25519: { der: fromHex("302a300506032b6570032100"), octets: 32 },
  p256: { der: fromHex("3059301306072a8648ce3d020106082a8648ce3d030107034200"), octets: 65 },
  p384: { der: fromHex("3076301006072a8648ce3d020106052b81040022036200"), octets: 97 },
} as const;

/** A key in base64 with padding, in the one form that X.509 libraries write. */
export function publicKey(c: Cursor): PublicKey {
  const text = c.string(512);
  const der = fromBase64(text);
  for (const algorithm of ["ed25519", "p256", "p384"] as const) {
    const { der: prefix, octets: length } = PREFIXES[algorithm];
    if (der.length !== prefix.length + length || !equal(der.subarray(0, prefix.length), prefix)) continue;
    const octets = der.subarray(prefix.length);
    if (!onCurve(algorithm, octets)) c.fail("a key that is no point of its curve");
    return { algorithm, octets, der, text };
  }
  return c.fail("a key of a kind that does not sign submissions");
}

function onCurve(algorithm: PublicKey["algorithm"], octets: Uint8Array): boolean {
  if (algorithm === "ed25519") return true;
  try {
    (algorithm === "p256" ? p256 : p384).Point.fromBytes(octets);
    return octets[0] === 4;
  } catch {
    return false;
  }
}

/** DSSE's pre-authentication encoding. */
export function preAuthentication(type: string, payload: Uint8Array): Uint8Array {
  return concat(octetsOf(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload);
}

export function verifySignature(key: PublicKey, message: Uint8Array, sig: Uint8Array): boolean {
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
export function fingerprint(key: PublicKey): string {
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
