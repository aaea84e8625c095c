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
const ppid = (p: Proof) => named(p.chassis, "intel:tdx:ppid:");
const piid = (p: Proof) => named(p.chassis, "intel:tdx:piid:");
const chip = (p: Proof) => named(p.chassis, "intel:tdx:ppid:", "amd:snp:chipid:");
const ak = (p: Proof) => named(p.keys, "tpm:ak:");
const ekOf = (p: Proof) => named(p.keys, "tpm:ek:") ?? named(p.chassis, "tpm:ek:");
const tdx = (p: Proof): TDX | undefined => (p.cvm.technology === "tdx" ? p.cvm : undefined);

/** Whether a certificate names the chip: under a VLEK it is the firmware's word. */
const certified = (p: Proof) => p.cvm.technology !== "snp" || p.cvm.snp.signer !== "vlek";

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

/** The difference of two counters that wrap around. */
function ahead(a: number, b: number): number {
  return (a - b) | 0;
}

/** Below zero: a's boot is earlier than b's, of one TPM. undefined: their counters do not compare. */
function boots(a: Proof, b: Proof): number | undefined {
  if (!a.tpm || !b.tpm) return undefined;
  if (ak(a) !== ak(b) && a.tpm.firmware !== b.tpm.firmware) return undefined;
  return ahead(a.tpm.reset_count, b.tpm.reset_count) || ahead(a.tpm.restart_count, b.tpm.restart_count);
}

/** e's evidence was certainly made before f's. */
function before(e: Claim, f: Claim): boolean {
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
  const one = e.tpm?.extra_data === f.tpm?.extra_data && e.profile !== "azure-snp-vtpm";
  return one ? contradiction(ak(e)) : alert;
};

/** One key or instance on two chips. */
function onTwoChips(name: (p: Proof) => string | undefined, counts: (p: Proof) => boolean): Pair {
  return (a, b) => {
    const [e, f] = [a.entry, b.entry];
    if (!counts(e) || !counts(f) || !same(name(e), name(f)) || !differ(chip(e), chip(f))) return undefined;
    if (same(piid(e), piid(f))) return undefined;
    const order = boots(e, f);
    if (order === 0) return contradiction(same(ak(e), ak(f)) ? ak(e) : e.instance);
    if (order === undefined) return moved;
    const back = (before(a, b) && order > 0) || (before(b, a) && order < 0);
    return back ? alert : moved;
  };
}

const level2 = (p: Proof) => p.level === 2;

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
  const gce = [e, f].every((p) => p.profile === "gce-tdx-vtpm" && level2(p));
  if (!gce || !same(e.instance, f.instance) || !differ(ak(e), ak(f))) return undefined;
  return e.tpm?.key_type === f.tpm?.key_type ? contradiction("provider:gce") : undefined;
};

const twoTPMsOnChassis: Pair = (a, b, limits) => {
  const [e, f] = [a.entry, b.entry];
  const metal = [e, f].every((p) => p.profile === "baremetal-tdx-tpm" && level2(p));
  if (!metal || !same(chip(e), chip(f)) || !differ(ekOf(e), ekOf(f))) return undefined;
  return movedWithin(a, b, limits.swap);
};

const bootForked: Pair = (a, b) => {
  const [e, f] = [a.entry, b.entry];
  if (!same(ak(e), ak(f)) || boots(e, f) !== 0) return undefined;
  const forked = (e.tpm?.pcrs ?? []).some((p) =>
    (f.tpm?.pcrs ?? []).some((q) => p.alg === q.alg && differ(p.firmware, q.firmware)),
  );
  const own = joined(e) && joined(f) && [e, f].every((p) => p.profile !== "baremetal-tdx-tpm");
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
  const clock = e.tpm.safe && f.tpm.safe ? e.tpm.clock - f.tpm.clock : 0n;
  const back = (x: Claim, y: Claim, later: boolean, clockLater: boolean) =>
    before(x, y) && (later || (order === 0 && clockLater));
  const found = back(a, b, order > 0, clock > 0n) || back(b, a, order < 0, clock < 0n);
  return found ? alert : undefined;
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
  const [first, later] = a.entry.appraised <= b.entry.appraised ? [a, b] : [b, a];
  const [x, y] = [tdx(first.entry), tdx(later.entry)];
  if (!x?.tcb || !y?.tcb || !later.entry.fresh || later.entry.appraised - first.entry.appraised <= Number(SKEW)) return undefined;
  const one = first.entry.realm === "lab" ? same(chip(first.entry), chip(later.entry)) : x.fmspc === y.fmspc;
  return one && y.tcb.evaluation < x.tcb.evaluation ? contradiction(`log:${a.origin}`) : undefined;
};

/** The rules of two entries. */
export const PAIRS: Record<string, Pair> = {
  "quote-replayed": quoteReplayed,
  "ak-on-two-chips": ofChips(onTwoChips(ak, joined)),
  "ek-on-two-chips": ofChips(onTwoChips(ekOf, level2)),
  "instance-on-two-chips": ofChips(onTwoChips((p) => p.instance, level2)),
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

/** The rule whose finding is an appraisal that gives another leaf. */
export const NOT_REPRODUCIBLE = "entry-not-reproducible";

/** Makes every rule that takes as many entries; "entry-not-reproducible" needs an appraisal. */
export function compareEntries(claims: Claim[], limits: Limits = LIMITS): (Finding & { rule: string })[] {
  const [a, b] = claims;
  if (!a || claims.length > 2) return [];
  const all = b ? Object.entries(PAIRS) : Object.entries(SINGLES);
  return all.flatMap(([rule, check]) => {
    const found = b && a.entry.realm !== b.entry.realm ? undefined : check(a, b as Claim, limits);
    return found ? [{ rule, ...found }] : [];
  });
}
