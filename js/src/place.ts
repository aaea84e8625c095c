/** docs/format.md section 7: which parts of a place an entry proves, and which are hints. */
import type { Proof } from "./entry.js";

const AUTHORITIES = ["ak-certificate", "log-observed", "vlek"];

/** Providers that only entries of these profiles authenticate. */
const RESERVED: Record<string, string[]> = {
  gce: ["gce-tdx-vtpm"],
  azure: ["azure-tdx-vtpm", "azure-snp-vtpm"],
};

/** Whether the TEE named the AK, and the AK signed for the TEE. */
export function joined(p: Proof): boolean {
  if (!p.tpm) return false;
  return ["bind.ak-in-tee", "bind.tee-in-tpm", "tpm.ak-template"].every((c) => p.checks?.includes(c));
}

export interface AuthenticatedPlace {
  provider?: string;
  region?: string;
  zone?: string;
}

/** What authorities say about where an entry's machine stands. */
export function authenticated(p: Proof): AuthenticatedPlace {
  if (p.level < 2 || !joined(p)) return {};
  const said = (part: "provider" | "region" | "zone") => {
    const claim = p.place?.[part];
    return claim?.by.some((b) => AUTHORITIES.includes(b)) ? { [part]: claim.value } : {};
  };
  const out: AuthenticatedPlace = said("provider");
  if (out.provider === undefined) return {};
  const reserved = Object.hasOwn(RESERVED, out.provider) ? RESERVED[out.provider] : undefined;
  if (reserved && !reserved.includes(p.profile)) return {};
  return { ...out, ...said("region"), ...said("zone") };
}
