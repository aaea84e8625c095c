/** docs/format.md section 5: the nonce that a log gives, and what it is made of. */
import { fromHex, octetsOf, sha256, toHex } from "./bytes.js";
import { base64url, constant, hex, object, oneOf, parse, type Of } from "./encoding.js";
import { MAX_CHALLENGE } from "./limits.js";

export const PROFILES = [
  "azure-snp-vtpm",
  "azure-tdx-vtpm",
  "baremetal-tdx-tpm",
  "gce-tdx-vtpm",
  "snp",
  "tdx",
] as const;

export const profileName = oneOf(...PROFILES);

const challenge = object({
  v: constant(1),
  profile: profileName,
  checkpoint: base64url(MAX_CHALLENGE),
  salt: hex(32),
  user_data: hex(32),
});

export type Challenge = Of<typeof challenge>;

export function parseChallenge(file: Uint8Array): Challenge {
  return parse(file, MAX_CHALLENGE, challenge);
}

/** The nonce of a challenge, in hexadecimal. */
export function nonce(c: Challenge): string {
  return toHex(
    sha256(
      octetsOf(`poclog/challenge/v1\n${c.profile}\n`),
      sha256(c.checkpoint),
      fromHex(c.salt),
      fromHex(c.user_data),
    ),
  );
}
