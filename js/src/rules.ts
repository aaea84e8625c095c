/** docs/format.md section 15: the rules. Each is a function of entries and times; none asks anybody. */
import type { Proof, TDX } from "./entry.js";
import { authenticated, joined } from "./place.js";
import { SKEW, type Times } from "./proven.js";

/** An entry where it stands. */
export interface Claim extends Times {
  origin: string;
  index: bigint;
  entry: Proof;
  /** The other entry's leaf is in the tree that this entry's challenge names. */
  after: boolean;
}

export type Severity = "contradiction" | "alert" | "information";

/** What a rule found. */
export interface Finding {
  severity: Severity;
  /** Who signed both sides, or must have: nobody where the severity is no contradiction. */
  implicated: string[];
}

/**
 * What a finding is worth to a reader who has not repeated the appraisals: a log can invent an entry,
 * with anybody's key in it. What implicates a log alone stands: it signed what it says.
 */
export function unseen(f: Finding): Finding {
  const byLog = f.implicated.length > 0 && f.implicated.every((who) => who.startsWith("log:"));
  return byLog || f.severity === "information" ? f : alert;
}

/** The reader's limits, in seconds. */
export interface Limits {
  move: bigint;
  swap: bigint;
}

export const LIMITS: Limits = { move: 24n * 3600n, swap: 3600n };

type Pair = (a: Claim, b: Claim, limits: Limits) => Finding | undefined;
type Single = (a: Claim) => Finding | undefined;

const alert: Finding = { severity: "alert", implicated: [] };
const moved: Finding = { severity: "information", implicated: [] };

function contradiction(...implicated: (string | undefined)[]): Finding {
  return { severity: "contradiction", implicated: implicated.filter((i) => i !== undefined) };
}

const named = (ids: string[] | undefined, ...prefixes: string[]) =>
  ids?.find((id) => prefixes.some((p) => id.startsWith(p)));
export const ppid = (p: Proof) => named(p.chassis, "intel:tdx:ppid:");
export const piid = (p: Proof) => named(p.chassis, "intel:tdx:piid:");
export const chip = (p: Proof) => named(p.chassis, "intel:tdx:ppid:", "amd:snp:chipid:");
/** The AK that an entry binds to its TEE: one that is not joined names none. */
export const ak = (p: Proof) => (joined(p) ? named(p.keys, "tpm:ak:") : undefined);
/** Of the machine, or of the VM. */
export const ekOf = (p: Proof) => named(p.chassis, "tpm:ek:") ?? named(p.keys, "tpm:ek:");
/** Of a bare-metal machine's own TPM. */
export const metalEK = (p: Proof) => named(p.chassis, "tpm:ek:");
export const tdx = (p: Proof): TDX | undefined => (p.cvm.technology === "tdx" ? p.cvm : undefined);

/** Whether a certificate names the chip: under a VLEK it is the firmware's word. */
export const certified = (p: Proof) => p.cvm.technology !== "snp" || p.cvm.snp.signer !== "vlek";

/** A rule about chips, which convicts nobody where an entry's chip is not certified. */
function ofChips(rule: Pair): Pair {
  return (a, b, limits) => {
    const found = rule(a, b, limits);
    const convicts = found?.severity !== "contradiction" || (certified(a.entry) && certified(b.entry));
    return convicts ? found : alert;
  };
}

/** Both have a value, and it is one. */
function same<T>(a: T | undefined, b: T | undefined): boolean {
  return a !== undefined && a === b;
}

/** Both have a value, and they are two. */
function differ<T>(a: T | undefined, b: T | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}

/**
 * How far a's boot is ahead of b's, of one TPM: 0 is one boot. undefined: their counters do not compare.
 * They wrap around: of two boots that are half the way apart neither is ahead, which is NaN.
 */
function boots(a: Proof, b: Proof): number | undefined {
  if (!a.tpm || !b.tpm || !oneTPM(a, b)) return undefined;
  const apart = (a.tpm.reset_count - b.tpm.reset_count) | 0 || (a.tpm.restart_count - b.tpm.restart_count) | 0;
  return apart === -(2 ** 31) ? NaN : apart;
}

function oneTPM(a: Proof, b: Proof): boolean {
  if (same(ak(a), ak(b))) return true;
  if (isAzure(a) || isAzure(b) || a.tpm?.firmware !== b.tpm?.firmware) return false;
  return (isMetal(a) && isMetal(b)) || a.tpm?.key_type !== b.tpm?.key_type;
}

const isAzure = (p: Proof) => p.profile === "azure-tdx-vtpm" || p.profile === "azure-snp-vtpm";
export const isMetal = (p: Proof) => p.profile === "baremetal-tdx-tpm";

/** e's evidence was certainly made before f's: by the tree or by the times, and neither says the opposite. */
function before(e: Claim, f: Claim): boolean {
  return precedes(e, f) && !precedes(f, e);
}

function precedes(e: Claim, f: Claim): boolean {
  return f.after || (e.t2 !== undefined && f.t1 !== undefined && e.t2 + SKEW < f.t1);
}

function within(a: Claim, b: Claim, d: bigint): boolean {
  if (a.t1 === undefined || b.t1 === undefined || a.t2 === undefined || b.t2 === undefined) return false;
  const last = a.t2 > b.t2 ? a.t2 : b.t2;
  const first = a.t1 < b.t1 ? a.t1 : b.t1;
  return last - first + SKEW < d;
}

function apart(a: Claim, b: Claim, d: bigint): boolean {
  const gap = (e: Claim, f: Claim) => f.t1 !== undefined && e.t2 !== undefined && f.t1 - e.t2 >= d;
  return gap(a, b) || gap(b, a);
}

/** One thing in two places, which takes a time to move. */
function movedWithin(a: Claim, b: Claim, d: bigint): Finding {
  if (within(a, b, d)) return contradiction();
  return apart(a, b, d) ? moved : alert;
}

const quoteReplayed: Pair = (a, b) => {
  const [e, f] = [a.entry, b.entry];
  if (!joined(e) || !joined(f) || e.quote !== f.quote || !same(ak(e), ak(f)) || boots(e, f) === 0) return undefined;
  const kept = [e, f].some((p) => p.profile === "azure-snp-vtpm");
  const one = e.tpm?.extra_data === f.tpm?.extra_data && !kept;
  return one ? contradiction(ak(e)) : alert;
};

/** One key or instance on two chips. */
function onTwoChips(name: (p: Proof) => string | undefined, counts: (p: Proof) => boolean): Pair {
  return (a, b) => {
    const [e, f] = [a.entry, b.entry];
    if (!counts(e) || !counts(f) || !same(name(e), name(f)) || !differ(chip(e), chip(f))) return undefined;
    if (same(piid(e), piid(f))) return undefined;
    const order = boots(e, f);
    if (order === 0) return contradiction(same(ak(e), ak(f)) ? ak(e) : instanceOf(name(e)));
    if (order === undefined) return moved;
    const back = (before(a, b) && order > 0) || (before(b, a) && order < 0);
    return back ? alert : moved;
  };
}

/** A subject that is an instance of Compute Engine. */
const instanceOf = (subject: string | undefined) => (subject?.startsWith("gce:instance:") ? subject : undefined);

/** Where EK, instance and place count. */
const proven = (p: Proof) => p.level === 2 && joined(p);

const piidOnTwoPPIDs: Pair = (a, b) =>
  same(piid(a.entry), piid(b.entry)) && differ(ppid(a.entry), ppid(b.entry)) ? contradiction("maker:intel") : undefined;

const chipStaticChanged: Pair = (a, b) => {
  const [e, f] = [a.entry, b.entry];
  if (!same(chip(e), chip(f))) return undefined;
  if (e.cvm.technology === "snp" && f.cvm.technology === "snp") {
    return e.cvm.snp.product !== f.cvm.snp.product ? contradiction("maker:amd") : undefined;
  }
  const changed = differ(tdx(e)?.fmspc, tdx(f)?.fmspc) || differ(tdx(e)?.pceid, tdx(f)?.pceid);
  return changed ? contradiction("maker:intel") : undefined;
};

const chipInTwoPlaces: Pair = (a, b, limits) => {
  if (!same(chip(a.entry), chip(b.entry))) return undefined;
  const [p, q] = [authenticated(a.entry), authenticated(b.entry)];
  const two = p.provider === q.provider ? differ(p.region, q.region) || differ(p.zone, q.zone) : true;
  if (p.provider === undefined || q.provider === undefined || !two) return undefined;
  return movedWithin(a, b, limits.move);
};

const twoAKsForInstance: Pair = (a, b) => {
  const [e, f] = [a.entry, b.entry];
  const gce = [e, f].every((p) => p.profile === "gce-tdx-vtpm");
  if (!gce || !same(instanceOf(e.instance), f.instance) || !differ(ak(e), ak(f))) return undefined;
  return e.tpm?.key_type === f.tpm?.key_type ? contradiction("provider:gce") : undefined;
};

const twoTPMsOnChassis: Pair = (a, b, limits) => {
  const [e, f] = [a.entry, b.entry];
  const metal = [e, f].every((p) => isMetal(p) && proven(p));
  if (!metal || !same(chip(e), chip(f)) || !differ(metalEK(e), metalEK(f))) return undefined;
  return movedWithin(a, b, limits.swap);
};

const bootForked: Pair = (a, b) => {
  const [e, f] = [a.entry, b.entry];
  if (!same(ak(e), ak(f)) || boots(e, f) !== 0) return undefined;
  const forked = (e.tpm?.pcrs ?? []).some((p) =>
    (f.tpm?.pcrs ?? []).some((q) => p.alg === q.alg && differ(p.firmware, q.firmware)),
  );
  const own = [e, f].every((p) => !isMetal(p));
  return forked || (own && launchedTwice(e, f)) ? contradiction(ak(e)) : undefined;
};

function launchedTwice(e: Proof, f: Proof): boolean {
  // Registers that are left out are zeros.
  const told = (p: Proof, i: number) => tdx(p) && (tdx(p)?.rtmrs?.[i] ?? "0".repeat(96));
  const register = (i: number) => differ(told(e, i), told(f, i));
  return e.cvm.measurement !== f.cvm.measurement || register(0) || register(1);
}

const tpmRewound: Pair = (a, b) => {
  const [e, f] = [a.entry, b.entry];
  if (!e.fresh || !f.fresh || !same(ak(e), ak(f)) || !e.tpm || !f.tpm) return undefined;
  const order = boots(e, f) ?? 0;
  const [x, y] = [e.tpm, f.tpm];
  const back =
    (before(a, b) && (order > 0 || (order === 0 && y.safe && y.clock < x.clock))) ||
    (before(b, a) && (order < 0 || (order === 0 && x.safe && x.clock < y.clock)));
  return back ? alert : undefined;
};

const intervalInverted: Single = (c) => {
  const at = BigInt(c.entry.appraised);
  if (!c.entry.fresh) return undefined;
  const over = (x: bigint | undefined, y: bigint | undefined) => x !== undefined && y !== undefined && x - y > SKEW;
  const found = over(c.t1, c.t2) || over(c.t1, at) || over(at, c.t2);
  return found ? contradiction(`log:${c.origin}`) : undefined;
};

const collateralRegressed: Pair = (a, b) => {
  if (a.origin !== b.origin) return undefined;
  const [first, later] = a.index < b.index ? [a, b] : [b, a];
  const [x, y] = [tdx(first.entry), tdx(later.entry)];
  if (!x?.tcb || !y?.tcb || !first.entry.fresh || !later.entry.fresh || later.entry.appraised - first.entry.appraised <= Number(SKEW)) return undefined;
  const one = first.entry.realm === "lab" ? same(chip(first.entry), chip(later.entry)) : x.fmspc === y.fmspc;
  return one && y.tcb.evaluation < x.tcb.evaluation ? contradiction(`log:${a.origin}`) : undefined;
};

/** The rules of two entries. */
export const PAIRS: Record<string, Pair> = {
  "quote-replayed": quoteReplayed,
  "ak-on-two-chips": ofChips(onTwoChips(ak, joined)),
  "ek-on-two-chips": ofChips(onTwoChips(ekOf, proven)),
  "instance-on-two-chips": ofChips(onTwoChips((p) => p.instance, proven)),
  "piid-on-two-ppids": piidOnTwoPPIDs,
  "chip-static-changed": ofChips(chipStaticChanged),
  "chip-in-two-places": ofChips(chipInTwoPlaces),
  "two-aks-for-instance": twoAKsForInstance,
  "two-tpms-on-chassis": twoTPMsOnChassis,
  "boot-forked": bootForked,
  "tpm-rewound": tpmRewound,
  "collateral-regressed": collateralRegressed,
};

/** The rules of one entry that need no appraisal. */
export const SINGLES: Record<string, Single> = { "interval-inverted": intervalInverted };

/** The name of the finding that something moved, whichever rule made it. */
export const MOVED = "moved";

/** The rule whose finding is an appraisal that gives another leaf. */
export const NOT_REPRODUCIBLE = "entry-not-reproducible";

/** Makes every rule that takes as many entries; "entry-not-reproducible" needs an appraisal. */
export function compareEntries(claims: Claim[], limits: Limits = LIMITS): (Finding & { rule: string })[] {
  const [a, b] = claims;
  if (!a || claims.length > 2) return [];
  if (b && (a.entry.realm !== b.entry.realm || (a.origin === b.origin && a.index === b.index))) return [];
  const found: (Finding & { rule: string })[] = [];
  for (const [rule, check] of Object.entries<Pair>(b ? PAIRS : SINGLES)) {
    const f = check(a, b as Claim, limits);
    if (f?.severity !== "information") f && found.push({ rule, ...f });
    else if (!found.some((x) => x.rule === MOVED)) found.push({ rule: MOVED, ...f });
  }
  return found;
}
