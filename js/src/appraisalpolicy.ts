/** docs/format.md section 6: what a judge of evidence accepts. */
import { profileName } from "./challenge.js";
import { publicKey } from "./dsse.js";
import { ascending, boolean, checked, constant, hex, hexNotZero, list, number, object, oneOf, optional, parseIndented, text, type Codec, type Cursor, type Of } from "./encoding.js";
import { MAX_POLICY } from "./limits.js";
import { registrars } from "./registrar.js";

/** A file of at most 256 KiB cannot have more of anything. */
const MANY = 1 << 16;
const name = text(0, 4096);

const rule = object({ profile: profileName, level: level, historical: boolean });

function level(c: Cursor): number {
  const n = number(0, 2)(c);
  if (n === 1) c.fail("a level that there is not");
  return n;
}

function admitRule(c: Cursor): Of<typeof rule> {
  const r = rule(c);
  if (r.historical && r.level !== 0) c.fail("historical evidence has level 0");
  return r;
}

const USES = ["amd-ark", "azure-ak", "gce-ak", "gce-launch", "intel-sgx", "platform-owner", "provider-ak", "tpm-ek"] as const;
const root = object({ use: oneOf(...USES), sha256: hex(32), name });

const byte = number(0, 255);
const anyFirmware = object({
  product: oneOf("Genoa", "Milan", "Turin"),
  fmc: optional(number(1, 255)),
  bootloader: byte,
  tee: byte,
  snp: byte,
  microcode: byte,
});

function firmware(c: Cursor): Of<typeof anyFirmware> {
  const f = anyFirmware(c);
  if (f.fmc !== undefined && f.product !== "Turin") c.fail(`${f.product} has no fmc`);
  return f;
}

const launch = object({ profile: profileName, measurement: hex(48), name });
const snpProfile = oneOf("azure-snp-vtpm", "snp");
const idKey = object({ profile: snpProfile, digest: hexNotZero(48), guest_svn: number(), name });
const anyTXT = object({ name, alg: oneOf("sha256", "sha384"), pcr17: hex(32, 48), pcr18: hex(32, 48) });

function txt(c: Cursor): Of<typeof anyTXT> {
  const t = anyTXT(c);
  const digits = t.alg === "sha256" ? 64 : 96;
  if (t.pcr17.length !== digits || t.pcr18.length !== digits) c.fail(`registers of ${t.alg} have ${digits} digits`);
  return t;
}

const STATUSES = ["ConfigurationAndSWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "SWHardeningNeeded", "UpToDate"] as const;
const registry = object({ provider: name, url: checked(text(1, 4096), isAddress, "http or https URL") });

/** What section 6 says of a registry's URL. */
const ADDRESS = /^https?:\/\/([A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(\/([^?#%]|%[0-9A-Fa-f]{2})*)?$/;

function isAddress(s: string): boolean {
  return ADDRESS.test(s);
}

const alliance = object({ name, key: hexNotZero(32) });

const anyPublishers = object({ threshold: number(1, 16), keys: ascending(list(publicKey, 1, 256), (k) => k.text) });

function publishers(c: Cursor): Of<typeof anyPublishers> {
  const p = anyPublishers(c);
  if (p.threshold > p.keys.length) c.fail("a threshold over the number of keys");
  return p;
}

function sorted<T>(item: Codec<T>, key: (t: T) => string, least = 1): Codec<T[]> {
  return ascending(list(item, least, MANY), key);
}

const policy = object({
  v: constant(1),
  realm: oneOf("lab", "production"),
  admit: sorted(admitRule, (r) => `${r.profile}${r.level} ${r.historical}`, 0),
  max_challenge_age: number(1, 86400),
  challenge_policy: optional(list(text(0, 4096), 1, MANY)),
  roots: sorted(root, (r) => `${r.use}${r.sha256}`, 0),
  tcb: sorted(oneOf(...STATUSES), (s) => s, 0),
  snp_tcb: optional(sorted(firmware, (f) => f.product)),
  launch: optional(sorted(launch, (l) => `${l.profile} ${l.measurement}`)),
  id_keys: optional(sorted(idKey, (k) => `${k.profile} ${k.digest}`)),
  txt: optional(sorted(txt, (t) => t.name)),
  registries: optional(sorted(registry, (r) => r.provider)),
  alliances: optional(ascending(list(alliance, 1, 64), (a) => a.key)),
  publishers: optional(publishers),
  registrars: optional(registrars),
});

export type AppraisalPolicy = Of<typeof policy>;

/** Reads an appraisal policy. It is not what judges a receipt: that is a tlog-policy. */
export function parseAppraisalPolicy(file: Uint8Array): AppraisalPolicy {
  return parseIndented(file, MAX_POLICY, policy);
}
