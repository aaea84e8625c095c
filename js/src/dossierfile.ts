/** docs/format.md section 17: the file that is every entry of a log that states some names. */
import { ascending, base64url, constant, hex, list, number, object, optional, parse, text, uint64string, type Codec, type Cursor, type Of } from "./encoding.js";
import { MAX_NAME } from "./indexmap.js";
import { MAX_CHECKPOINT, MAX_DOSSIER, MAX_ENTRY, MAX_INDEX_WRONG, MAX_RECEIPT } from "./limits.js";

/** A file of at most 64 MiB cannot have more of anything. */
const MANY = 1 << 25;
/** Of a page: a challenge and a first checkpoint for each entry. */
const MAX_CHECKPOINTS = 2000;
/** Longer than the longest map proof: a path of 256 steps. */
const MAX_MAP_PROOF = 16 << 10;

const numbers: Codec<bigint[]> = (c) => {
  const out = list(uint64string, 1, MANY)(c);
  for (let i = 1; i < out.length; i++) if ((out[i - 1] as bigint) >= (out[i] as bigint)) c.fail("numbers out of order");
  return out;
};

const listed = {
  name: text(1, MAX_NAME),
  proof: base64url(MAX_MAP_PROOF),
  before: optional(hex(32)),
  numbers: optional(numbers),
};

/** A leaf as it stands: each character is an octet. */
const leaf = (c: Cursor) => c.raw(MAX_ENTRY);
const reference = optional(number(1, MAX_CHECKPOINTS));
const entry = object({ number: uint64string, leaf, challenge: reference, first: reference });

const page = object({
  entries: list(entry, 1, 1000),
  proof: optional(list(hex(32), 1, MANY)),
  checkpoints: optional(list(object({ checkpoint: base64url(MAX_CHECKPOINT), consistency: optional(list(hex(32), 1, 64)) }), 1, MAX_CHECKPOINTS)),
});

const dossier = object({
  v: constant(1),
  index: base64url(MAX_RECEIPT),
  checkpoint: base64url(MAX_CHECKPOINT),
  since: optional(base64url(MAX_CHECKPOINT)),
  names: ascending(list(object(listed), 1, 64), (n) => n.name),
  pages: optional(list(page, 1, MANY)),
});

export type Dossier = Of<typeof dossier>;
export type Page = Of<typeof page>;
export type DossierEntry = Of<typeof entry>;

/** Reads a dossier. It checks nothing in it. */
export function parseDossier(file: Uint8Array): Dossier {
  return parse(file, MAX_DOSSIER, (c) => {
    const d = dossier(c);
    let last = -1n;
    for (const p of d.pages ?? []) {
      for (const e of p.entries) {
        if (e.number <= last) c.fail("entries out of order");
        last = e.number;
      }
    }
    return d;
  });
}

/** The one value that stands here. */
const word = (s: string): Codec<string> => (c) => {
  c.expect(JSON.stringify(s));
  return s;
};

/** The rule that a wrong index breaks. */
export const INDEX_WRONG = "index-wrong";

const indexWrong = object({
  v: constant(1),
  rule: word(INDEX_WRONG),
  index: base64url(MAX_RECEIPT),
  ...listed,
  entry: base64url(MAX_RECEIPT),
});

export type IndexWrong = Of<typeof indexWrong>;

/** Reads the file that shows that a log's index is wrong. */
export function parseIndexWrong(file: Uint8Array): IndexWrong {
  return parse(file, MAX_INDEX_WRONG, indexWrong);
}
