/** docs/format.md section 18.4: one machine of a private fleet, shown to whom its owner chooses. */
import { fromHex, octetsOf, sha256 } from "./bytes.js";
import { constant, hex, list, number, object, optional, parse, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import { MAX_OPENING } from "./limits.js";
import { includes, leafHash } from "./merkle.js";
import { subject, type StatementOf } from "./statement.js";

const opening = object({
  v: constant(1),
  root: hex(32),
  salt: hex(32),
  identity: subject,
  number: number(),
  hashes: optional(list(hex(32), 1, 32)),
});

export type Opening = Of<typeof opening>;

/** Reads an opening. It is checked against a commitment. */
export function parseOpening(file: Uint8Array): Opening {
  return parse(file, MAX_OPENING, opening);
}

/** Refuses an opening that the commitment is not of. */
export function checkOpening(o: Opening, commitment: StatementOf<"commit">): void {
  if (o.root !== commitment.root) refuse("opening", "the opening is of another commitment");
  const leaf = sha256(octetsOf("poclog/commit/v1\n"), fromHex(o.salt), octetsOf(o.identity));
  const hashes = (o.hashes ?? []).map(fromHex);
  if (!includes(leafHash(leaf), BigInt(o.number), BigInt(commitment.count), hashes, fromHex(o.root))) {
    refuse("opening", "the hashes do not lead to the commitment's root");
  }
}
