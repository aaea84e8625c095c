/** docs/format.md section 7: the leaf of a log. */
import { profileName } from "./challenge.js";
import {
  ascending, boolean, checked, constant, hex, hexNotZero, hexUpTo, list, number, object, oneOf, optional, parse,
  text, time, uint64string, Cursor, type Of,
} from "./encoding.js";
import { latin1 } from "./bytes.js";
import { identity } from "./identities.js";
import { MAX_ENTRY } from "./limits.js";
import { PoclogError, refuse } from "./errors.js";

const MANY = 64;

const identities = (...prefixes: string[]) =>
  ascending(list(identity(...prefixes), 1, 8), (s) => s);

const word = text(1, 128);
const words = ascending(list(word, 1, MANY), (s) => s);

const part = object({ value: word, by: words });
const place = object({
  provider: optional(part),
  region: optional(part),
  zone: optional(part),
});

const anyEndorsement = object({
  kind: oneOf("alliance-token", "owner-endorsement"),
  by: hexNotZero(32),
  of: identity("intel:", "amd:"),
  says: text(1, 255),
  from: optional(time),
  until: optional(time),
});

export type Endorsement = Of<typeof anyEndorsement>;

function endorsement(c: Cursor): Endorsement {
  const e = anyEndorsement(c);
  if (e.kind === "alliance-token") {
    if (e.until !== undefined) c.fail("a token has no end");
    if (e.from !== undefined && e.from < 1e9) c.fail("a token's time has ten digits");
  } else if (e.from === undefined || e.until === undefined || e.until < e.from) {
    c.fail("an owner's endorsement has a beginning and a later end");
  }
  return e;
}

const tcb = object({
  status: word,
  date: time,
  advisories: optional(words),
  evaluation: number(),
});

const tdx = object({
  technology: oneOf("tdx"),
  measurement: hexNotZero(48),
  endorsed_by: optional(oneOf("provider", "policy")),
  rtmrs: optional(list(hex(48), 4, 4)),
  report_data: hex(64),
  mrowner: optional(hexNotZero(48)),
  mrconfigid: optional(hexNotZero(48)),
  tcb: optional(tcb),
  fmspc: hex(6),
  pceid: hex(2),
});

const snp = object({
  technology: oneOf("snp"),
  measurement: hexNotZero(48),
  endorsed_by: optional(oneOf("provider", "policy")),
  report_data: hex(64),
  snp: object({
    product: oneOf("Milan", "Genoa", "Turin"),
    signer: oneOf("vcek", "vlek"),
    policy: uint64string,
    guest_svn: number(),
    reported_tcb: hex(8),
    committed_tcb: hex(8),
    launch_tcb: hex(8),
    id_key: optional(hexNotZero(48)),
    host_data: optional(hexNotZero(32)),
  }),
});

export type TDX = Of<typeof tdx>;
export type SNP = Of<typeof snp>;

/** Of TDX or of SEV-SNP: the first member says which. */
function cvm(c: Cursor): TDX | SNP {
  return c.ahead('{"technology":"snp"') ? snp(c) : tdx(c);
}

const bank = object({
  alg: oneOf("sha1", "sha256", "sha384", "sha512"),
  selected: selection,
  firmware: optional(hex(32)),
});

function selection(c: Cursor): number[] {
  const out = list(number(0, 23), 1, 24)(c);
  for (let i = 1; i < out.length; i++) {
    if ((out[i - 1] as number) >= (out[i] as number)) c.fail("registers out of order");
  }
  return out;
}

const keyType = checked(word, isKeyType, "type of key");

function isKeyType(s: string): boolean {
  if (s === "ecc-p256" || s === "ecc-p384") return true;
  const bits = Number(s.slice(4));
  return s === `rsa-${bits}` && Number.isInteger(bits) && bits >= 2048 && bits <= 4096;
}

const tpm = object({
  key_type: keyType,
  pcrs: list(bank, 1, 8),
  pcr_digest: hex(32, 48, 64),
  extra_data: optional(hexUpTo(64)),
  clock: uint64string,
  reset_count: number(),
  restart_count: number(),
  safe: boolean,
  firmware: uint64string,
});

const fresh = object({
  origin: word,
  size: uint64string,
  root: hex(32),
  checkpoint: hex(32),
  salt: hex(32),
  user_data: hex(32),
});

export type TPM = Of<typeof tpm>;
export type Fresh = Of<typeof fresh>;

const file = object({ sha256: hex(32), size: number(1) });
const evidence = object({
  bundle: file,
  envelope: optional(file),
  collateral: file,
  policy: file,
});

const anyProof = object({
  v: constant(1),
  kind: oneOf("proof"),
  appraisal: number(1),
  profile: profileName,
  level,
  realm: oneOf("production", "lab"),
  chassis: identities("intel:", "amd:", "tpm:ek:"),
  keys: optional(identities("tpm:")),
  instance: optional(identity("gce:", "azure:")),
  quote: identity("quote:"),
  boot: optional(hex(32)),
  place: optional(place),
  endorsements: optional(list(endorsement, 1, MANY)),
  cvm,
  tpm: optional(tpm),
  fresh: (c: Cursor) => (c.skip("null") ? null : fresh(c)),
  publishers: optional(ascending(list(hex(32), 1, 16), (s) => s)),
  checks: optional(list(word, 1, MANY)),
  absent: optional(list(word, 1, MANY)),
  evidence,
  appraised: time,
});

function level(c: Cursor): 0 | 2 {
  const n = number(0, 2)(c);
  if (n === 1) c.fail("a level that there is not");
  return n as 0 | 2;
}

/** What a log keeps of evidence. */
export type Proof = Of<typeof anyProof>;

function proof(c: Cursor): Proof {
  const p = anyProof(c);
  const signed = p.publishers !== undefined;
  if (signed !== (p.evidence.envelope !== undefined)) c.fail("publishers and envelope come together");
  const order = (p.endorsements ?? []).map((e) => `${e.kind} ${e.by}`);
  for (let i = 0; i < order.length; i++) {
    if (i > 0 && (order[i - 1] as string) >= (order[i] as string)) c.fail("endorsements out of order");
    if (!p.chassis.includes(p.endorsements?.[i]?.of ?? "")) c.fail("an endorsement of another chip");
  }
  return p;
}

const config = object({
  v: constant(1),
  kind: oneOf("config"),
  policy: file,
  software: text(1, 128),
  time,
});

/** Which policy is in force from here on. */
export type Config = Of<typeof config>;

/** A leaf that this version of the format does not know. */
export interface Unknown {
  kind: "unknown";
}

export type Entry = Proof | Config | Unknown;

/** Whether a leaf says that it is a proof or configuration of version 1. */
function isKnown(leaf: string): boolean {
  return leaf.startsWith('{"v":1,"kind":"proof"') || leaf.startsWith('{"v":1,"kind":"config"');
}

/** Reads a leaf. Leaves of unknown kinds and versions are no errors; malformed ones are. */
export function parseEntry(leaf: Uint8Array): Entry {
  if (!(leaf instanceof Uint8Array)) refuse("format", "want a Uint8Array");
  const head = latin1(leaf.subarray(0, 32));
  if (!isKnown(head)) return { kind: "unknown" };
  if (head.startsWith('{"v":1,"kind":"config"')) return parse(leaf, MAX_ENTRY, config);
  return parse(leaf, MAX_ENTRY, proof);
}

/** Reads a leaf, and gives undefined for a malformed one. */
export function tryEntry(leaf: Uint8Array): Entry | undefined {
  try {
    return parseEntry(leaf);
  } catch (e) {
    if (e instanceof PoclogError) return undefined;
    throw e;
  }
}
