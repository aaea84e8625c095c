/** docs/format.md section 2: names of hardware, keys, instances and quotes. */
import { isHex } from "./bytes.js";
import { refuse } from "./errors.js";
import { allZero, checked, text, type Codec } from "./encoding.js";

/** An identity is at most this long. */
export const MAX_IDENTITY = 160;

const OCTETS: Record<string, number> = {
  "intel:tdx:ppid:": 16,
  "intel:tdx:piid:": 16,
  "amd:snp:chipid:": 64,
  "tpm:ek:": 32,
  "tpm:ak:": 32,
  "quote:": 32,
};

/** Whether s is an identity in its one form. */
export function isIdentity(s: string): boolean {
  if (s.length > MAX_IDENTITY) return false;
  for (const [prefix, octets] of Object.entries(OCTETS)) {
    if (!s.startsWith(prefix)) continue;
    const rest = s.slice(prefix.length);
    return rest.length === 2 * octets && isHex(rest) && !allZero(rest);
  }
  if (s.startsWith("gce:instance:")) return isInstance(s.slice("gce:instance:".length));
  if (s.startsWith("azure:vm:")) return isUUID(s.slice("azure:vm:".length));
  return false;
}

function isInstance(s: string): boolean {
  const parts = s.split(":");
  return parts.length === 2 && parts.every(isNumber);
}

function isNumber(s: string): boolean {
  if (s.length === 0 || s.length > 20 || s.startsWith("0")) return false;
  for (let i = 0; i < s.length; i++) if (s.charAt(i) < "0" || s.charAt(i) > "9") return false;
  return BigInt(s) < 1n << 64n;
}

function isUUID(s: string): boolean {
  const parts = s.split("-");
  const lengths = [8, 4, 4, 4, 12];
  return (
    parts.length === 5 &&
    parts.every((p, i) => p.length === lengths[i] && isHex(p)) &&
    !allZero(parts.join(""))
  );
}

/** An identity that begins with one of these prefixes. */
export function identity(...prefixes: string[]): Codec<string> {
  return checked(
    text(1, MAX_IDENTITY),
    (s) => isIdentity(s) && (prefixes.length === 0 || prefixes.some((p) => s.startsWith(p))),
    "identity" + (prefixes.length > 0 ? ` of ${prefixes.join(", ")}` : ""),
  );
}

/** Gives an identity back that is in its one form. */
export function parseIdentity(s: string): string {
  if (typeof s !== "string" || !isIdentity(s)) refuse("format", `${JSON.stringify(s)} is no identity`);
  return s;
}
