/** docs/format.md section 9: a C2SP tlog-proof whose extra data makes it complete. */
import { fromBase64, fromHex, latin1, octetsOf } from "./bytes.js";
import { base64url, constant, hex, list, object, optional, parse, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import { MAX_CHECKPOINT, MAX_ENTRY, MAX_EXCEPTIONS, MAX_HASHES, MAX_RECEIPT } from "./limits.js";
import { decimal } from "./note.js";

const extra = object({
  v: constant(1),
  entry: base64url(MAX_ENTRY),
  challenge: optional(base64url(MAX_CHECKPOINT)),
  first: optional(object({ hashes: list(hex(32), 0, MAX_HASHES), checkpoint: base64url(MAX_CHECKPOINT) })),
  exceptions: optional(list(base64url(MAX_EXCEPTIONS), 1, 4)),
});

/** A receipt in parts; nothing in it is verified. */
export interface Receipt {
  entry: Uint8Array;
  challenge: Uint8Array | undefined;
  first: { hashes: Uint8Array[]; checkpoint: Uint8Array } | undefined;
  /** Notes of exceptions. */
  exceptions: Uint8Array[];
  index: bigint;
  hashes: Uint8Array[];
  checkpoint: Uint8Array;
}

const fail = (detail: string): never => refuse("format", detail);

export function parseReceipt(file: Uint8Array): Receipt {
  if (!(file instanceof Uint8Array)) fail("want a Uint8Array");
  if (file.length > MAX_RECEIPT) fail(`${file.length} bytes: want at most ${MAX_RECEIPT}`);
  const text = latin1(file);
  const end = text.indexOf("\n\n");
  if (end < 0) fail("no checkpoint");
  const [head, second, third, ...rest] = text.slice(0, end).split("\n");
  if (head !== "c2sp.org/tlog-proof@v1") fail("no tlog-proof of version 1");
  if (!second?.startsWith("extra ")) return fail("no extra data");
  if (!third?.startsWith("index ")) return fail("no index");
  const index = decimal(third.slice("index ".length));
  if (index === undefined || index >= 1n << 63n) return fail("index");
  if (rest.length > MAX_HASHES) fail(`${rest.length} hashes: want at most ${MAX_HASHES}`);
  const checkpoint = octetsOf(text.slice(end + 2));
  if (checkpoint.length === 0 || checkpoint.length > MAX_CHECKPOINT) fail(`a checkpoint of ${checkpoint.length} bytes`);
  const parts = parse(fromBase64(second.slice("extra ".length)), MAX_RECEIPT, extra);
  return {
    entry: parts.entry,
    challenge: parts.challenge,
    first: parts.first && first(parts.first),
    exceptions: parts.exceptions ?? [],
    index,
    hashes: rest.map(hash),
    checkpoint,
  };
}

function first(f: NonNullable<Of<typeof extra>["first"]>): NonNullable<Receipt["first"]> {
  return { hashes: f.hashes.map(fromHex), checkpoint: f.checkpoint };
}

function hash(line: string): Uint8Array {
  const octets = fromBase64(line);
  if (octets.length !== 32) fail("a hash is 32 octets");
  return octets;
}
