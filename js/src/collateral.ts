/** docs/format.md section 4: what others publish to judge evidence. */
import { base64url, constant, list, number, object, oneOf, optional, parse, text, time, type Cursor, type Of } from "./encoding.js";
import { MAX_COLLATERAL } from "./limits.js";

const KINDS = [
  "tdx-tcb-info",
  "tdx-qe-identity",
  "intel-pck-crl",
  "intel-root-crl",
  "amd-crl",
  "launch-endorsement",
  "chip-registry",
  "alliance-token",
  "owner-endorsement",
] as const;

const anyItem = object({
  kind: oneOf(...KINDS),
  url: optional(text(1, 512)),
  time: optional(time),
  status: optional(number(100, 599)),
  quote_size: optional(number(1, 65536)),
  chain: optional(base64url(MAX_COLLATERAL)),
  body: optional(base64url(MAX_COLLATERAL)),
});

export type CollateralItem = Of<typeof anyItem>;

function item(c: Cursor): CollateralItem {
  const out = anyItem(c);
  const unsigned = out.kind === "chip-registry";
  if ((out.time !== undefined) !== unsigned || (out.status !== undefined) !== unsigned) {
    c.fail(`${out.kind}: time and status are of unsigned kinds`);
  }
  if (unsigned ? out.url === undefined : out.body === undefined) c.fail(`${out.kind}: want ${unsigned ? "a url" : "a body"}`);
  if (out.quote_size !== undefined && out.kind !== "alliance-token") c.fail(`${out.kind}: quote_size`);
  return out;
}

const collateral = object({ v: constant(1), items: ordered });

function ordered(c: Cursor): CollateralItem[] {
  const items = list(item, 0, 16)(c);
  for (let i = 1; i < items.length; i++) {
    const [a, b] = [items[i - 1], items[i]] as [CollateralItem, CollateralItem];
    const kinds = KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind);
    if (kinds > 0 || (kinds === 0 && (a.url ?? "") >= (b.url ?? ""))) c.fail("items out of order");
  }
  return items;
}

export type Collateral = Of<typeof collateral>;

export function parseCollateral(file: Uint8Array): Collateral {
  return parse(file, MAX_COLLATERAL, collateral);
}
