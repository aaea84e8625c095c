/** docs/format.md section 3: one confidential VM's evidence in one file. */
import { MAX_BUNDLE } from "./limits.js";
import { base64url, parse, type Codec, type Cursor } from "./encoding.js";

/** The items of a bundle, in their order. */
export const ITEMS = [
  "tdx-quote",
  "snp-report",
  "snp-certs",
  "tpm-quote",
  "tpm-pcrs",
  "tpm-ak",
  "tpm-ak-chain",
  "tpm-ek-chain",
  "tcg-log",
  "ccel",
  "hcl-report",
  "challenge",
] as const;

export type Item = (typeof ITEMS)[number];

/** The octets of the items that a bundle has. */
export type Bundle = Partial<Record<Item, Uint8Array>>;

const octets = base64url(MAX_BUNDLE);

const bundle: Codec<Bundle> = (c) => {
  const out: Bundle = {};
  c.open("{");
  c.expect('"__cmwc_t":"tag:poclog.dev,2026:bundle"');
  for (const name of ITEMS) {
    if (c.member(name, false)) out[name] = item(c, name);
  }
  if (Object.keys(out).length === 0) c.fail("a bundle without items");
  c.close("}");
  return out;
};

function item(c: Cursor, name: Item): Uint8Array {
  c.expect(`["application/vnd.poclog.${name}",`);
  const out = octets(c);
  c.expect(",4]");
  return out;
}

/** Reads a bundle. It judges nothing in it. */
export function parseBundle(file: Uint8Array): Bundle {
  return parse(file, MAX_BUNDLE, bundle);
}

const TPM_ITEMS: Item[] = ["tpm-quote", "tpm-pcrs", "tpm-ak", "tpm-ak-chain"];

/** The profile that a bundle's items make, or undefined. */
export function bundleProfile(b: Bundle): string | undefined {
  const tdx = b["tdx-quote"] !== undefined;
  if (tdx === (b["snp-report"] !== undefined)) return undefined;
  if (b["hcl-report"]) return tdx ? "azure-tdx-vtpm" : "azure-snp-vtpm";
  if (!tdx) return "snp";
  if (b["tpm-ek-chain"]) return "baremetal-tdx-tpm";
  return TPM_ITEMS.some((n) => b[n]) ? "gce-tdx-vtpm" : "tdx";
}
