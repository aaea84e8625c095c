/** docs/format.md section 7: the leaf of a log. */
import { profileName } from "./challenge.js";
import {
  allZero, ascending, boolean, checked, constant, hex, hexNotZero, hexUpTo, list, number, object, oneOf, optional, read,
  text, time, uint64string, type Codec, type Cursor, type Of,
} from "./encoding.js";
import { latin1 } from "./bytes.js";
import { identity } from "./identities.js";
import { MAX_ENTRY } from "./limits.js";
import { PoclogError, refuse } from "./errors.js";
import { statementEnvelope } from "./statement.js";

const identities = (...prefixes: string[]) =>
  ascending(list(identity(...prefixes), 1, 8), (s) => s);

const CHASSIS = ["intel:tdx:ppid:", "intel:tdx:piid:", "amd:snp:chipid:", "tpm:ek:"];

/** A name that a log or a provider gives. */
const name = text(1, 128);
/** The id of a check, a source, a status or an advisory. */
const word = text(1, 40);
const checks = list(word, 1, 64);
const sorted = (most: number) => ascending(list(word, 1, most), (s) => s);

const part = object({ value: name, by: sorted(8) });
const place = object({
  provider: part,
  region: optional(part),
  zone: optional(part),
});

const anyEndorsement = object({
  kind: oneOf("alliance-token", "owner-endorsement"),
  by: hex(32),
  of: identity(...CHASSIS),
  says: text(1, 255),
  from: optional(time),
  until: optional(time),
});

export type Endorsement = Of<typeof anyEndorsement>;

function endorsement(c: Cursor): Endorsement {
  const e = anyEndorsement(c);
  if (e.kind === "alliance-token") {
    if (e.until !== undefined) c.fail("a token has no end");
  } else if (e.from === undefined || e.until === undefined || e.until < e.from) {
    c.fail("an owner's endorsement has a beginning and a later end");
  }
  return e;
}

const tcb = object({
  status: word,
  date: time,
  advisories: optional(sorted(64)),
  evaluation: number(),
});

const tdx = object({
  technology: oneOf("tdx"),
  measurement: hex(48),
  endorsed_by: optional(oneOf("provider", "policy")),
  rtmrs: optional(registers),
  report_data: hex(64),
  mrowner: optional(hexNotZero(48)),
  mrconfigid: optional(hexNotZero(48)),
  tcb: optional(tcb),
  fmspc: hex(6),
  pceid: hex(2),
});

function registers(c: Cursor): string[] {
  const out = list(hex(48), 4, 4)(c);
  if (out.every(allZero)) c.fail("registers of zeros are left out");
  return out;
}

const snp = object({
  technology: oneOf("snp"),
  measurement: hex(48),
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
  const out = list(number(0, 31), 0, 32)(c);
  for (let i = 1; i < out.length; i++) {
    if ((out[i - 1] as number) >= (out[i] as number)) c.fail("registers out of order");
  }
  return out;
}

const keyType = checked(text(1, 8), isKeyType, "type of key");

function isKeyType(s: string): boolean {
  if (s === "ecc-p256" || s === "ecc-p384") return true;
  const bits = Number(s.slice(4));
  return s === `rsa-${bits}` && Number.isInteger(bits) && bits >= 2048 && bits <= 4096;
}

const tpm = object({
  key_type: keyType,
  pcrs: list(bank, 0, 8),
  pcr_digest: hexUpTo(64),
  extra_data: optional(hexUpTo(64)),
  clock: uint64string,
  reset_count: number(),
  restart_count: number(),
  safe: boolean,
  firmware: uint64string,
});

const fresh = object({
  origin: name,
  size: uint64string,
  root: hex(32),
  checkpoint: hex(32),
  salt: hex(32),
  user_data: hex(32),
});

export type TPM = Of<typeof tpm>;
export type Fresh = Of<typeof fresh>;

const file = object({ sha256: hex(32), size: number() });

/** A file that is left out where there is none. */
function some(c: Cursor): Of<typeof file> {
  const f = file(c);
  if (f.size === 0 && allZero(f.sha256)) c.fail("no file is left out");
  return f;
}

const evidence = object({
  bundle: file,
  envelope: optional(some),
  collateral: optional(some),
  policy: file,
});

const anyProof = object({
  v: constant(1),
  kind: oneOf("proof"),
  appraisal: number(1),
  profile: profileName,
  level,
  realm: oneOf("production", "lab"),
  chassis: optional(identities(...CHASSIS)),
  keys: optional(identities("tpm:ak:", "tpm:ek:")),
  instance: optional(identity("gce:instance:", "azure:vm:")),
  quote: identity("quote:"),
  boot: optional(hex(32)),
  place: optional(place),
  endorsements: optional(list(endorsement, 1, 16)),
  cvm,
  tpm: optional(tpm),
  fresh: (c: Cursor) => (c.skip("null") ? null : fresh(c)),
  publishers: optional(ascending(list(hex(32), 1, 16), (s) => s)),
  checks: optional(checks),
  absent: optional(checks),
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
  const snp = p.cvm.technology === "snp";
  const others = snp ? "intel:" : "amd:";
  if (snp !== p.profile.includes("snp") || p.chassis?.some((id) => id.startsWith(others))) {
    c.fail("profile, TEE and chassis are of two makers");
  }
  if ((p.boot === undefined) !== (p.tpm === undefined)) c.fail("boot and tpm come together");
  const signed = p.publishers !== undefined;
  if (signed !== (p.evidence.envelope !== undefined)) c.fail("publishers and envelope come together");
  const order = (p.endorsements ?? []).map((e) => `${e.kind} ${e.by}`);
  for (let i = 0; i < order.length; i++) {
    if (i > 0 && (order[i - 1] as string) >= (order[i] as string)) c.fail("endorsements out of order");
    if (!p.chassis?.includes(p.endorsements?.[i]?.of ?? "")) c.fail("an endorsement of another chip");
  }
  return p;
}

const config = object({
  v: constant(1),
  kind: oneOf("config"),
  policy: file,
  software: name,
  time,
});

/** Which policy is in force from here on. */
export type Config = Of<typeof config>;

const index = object({
  v: constant(1),
  kind: oneOf("index"),
  algorithm: number(1),
  size: uint64string,
  checkpoint: hex(32),
  root: hex(32),
});

/** The index of all entries before a size. */
export type Index = Of<typeof index>;

const statement = object({
  v: constant(1),
  kind: oneOf("statement"),
  envelope: statementEnvelope,
  signers: ascending(list(hex(32), 1, 16), (s) => s),
  policy: file,
  time,
});

/** What a registrar stated, section 18.2. */
export type StatementEntry = Of<typeof statement>;

function stated(c: Cursor): StatementEntry {
  const e = statement(c);
  if (e.signers.length !== e.envelope.signatures.length) c.fail("a signer for each signature");
  return e;
}

/** A leaf that this version of the format does not know. */
export interface Unknown {
  kind: "unknown";
}

export type Entry = Proof | Config | Index | StatementEntry | Unknown;

/** How a leaf of a known kind begins. Whatever else a leaf is, it is of an unknown kind. */
const KINDS: [string, Codec<Entry>][] = [
  ['{"v":1,"kind":"proof"', proof],
  ['{"v":1,"kind":"config"', config],
  ['{"v":1,"kind":"index"', index],
  ['{"v":1,"kind":"statement"', stated],
];

/** Reads a leaf. Leaves of unknown kinds and versions are no errors; malformed ones are. */
export function parseEntry(leaf: Uint8Array): Entry {
  if (!(leaf instanceof Uint8Array)) refuse("format", "want a Uint8Array");
  if (leaf.length > MAX_ENTRY) refuse("format", `an entry of ${leaf.length} bytes: want at most ${MAX_ENTRY}`);
  return readEntry(latin1(leaf));
}

/** Reads a leaf of which each character is an octet; at most MAX_ENTRY. */
export function readEntry(leaf: string): Entry {
  const kind = KINDS.find(([start]) => leaf.startsWith(start));
  return kind ? read(leaf, kind[1]) : { kind: "unknown" };
}

/** The number of the appraisal specification that a malformed proof names; undefined: it says that it is no proof. */
export function specificationOf(leaf: Uint8Array): number | undefined {
  const head = latin1(leaf.subarray(0, 64));
  const start = '{"v":1,"kind":"proof"';
  if (!head.startsWith(start)) return undefined;
  const member = start + ',"appraisal":';
  if (!head.startsWith(member)) return 0;
  let n = 0;
  for (let i = member.length; i < member.length + 10; i++) {
    const digit = head.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) break;
    n = 10 * n + digit;
  }
  return n;
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
