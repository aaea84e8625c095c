/** docs/format.md section 17.1: which of many entries are compared, and what is found. */
import type { Proof } from "./entry.js";
import { authenticated, joined } from "./place.js";
import { ak, chip, ekOf, isMetal, LIMITS, metalEK, MOVED, PAIRS, piid, ppid, SINGLES, tdx, type Claim, type Finding, type Limits } from "./rules.js";

/** What a rule found, of what, and between which entries. */
export interface Found extends Finding {
  rule: string;
  /** The identity that the rule is about. undefined: it is about a log. */
  subject: string | undefined;
  entries: bigint[];
}

/** An entry, and the size of the tree that its challenge is shown to be of. */
export type Placed = Omit<Claim, "after"> & { covers: bigint };

/** An entry with what the rules ask of it, found out once. */
interface Seen {
  at: Placed;
  p: Proof;
  joined: boolean;
  proven: boolean;
  ak: string | undefined;
  ek: string | undefined;
  chip: string | undefined;
  boot: string | undefined;
  /** The AK and its boot. */
  akBoot: string | undefined;
}

function see(at: Placed): Seen {
  const p = at.entry;
  const isJoined = joined(p);
  const boot = p.tpm && `${p.tpm.reset_count} ${p.tpm.restart_count}`;
  const own = isJoined ? ak(p) : undefined;
  return { at, p, joined: isJoined, proven: isJoined && p.level === 2, ak: own, ek: ekOf(p), chip: chip(p), boot, akBoot: together(own, boot) };
}

/** Entries of one key are compared where their values differ, or, of a rising rule, with the greatest values before. */
type Facet = [key: string | undefined, value: string | bigint | number | undefined];

interface Table {
  subject: (s: Seen) => string | undefined;
  facets: (s: Seen) => Facet[];
  rising?: true;
}

const together = (a: string | undefined, b: string | undefined) => (a === undefined || b === undefined ? undefined : `${a} ${b}`);
const statics = (p: Proof) => (p.cvm.technology === "snp" ? p.cvm.snp.product : `${p.cvm.fmspc} ${p.cvm.pceid}`);
const ZEROS = "0".repeat(96);

function placeOf(p: Proof): string | undefined {
  const { provider, region, zone } = authenticated(p);
  return provider === undefined ? undefined : [provider, region, zone].filter((w) => w !== undefined).join("/");
}

function forked(s: Seen): Facet[] {
  const of = s.akBoot;
  if (!s.joined || of === undefined) return [];
  const facets: Facet[] = (s.p.tpm?.pcrs ?? []).map((b) => [`${of} ${b.alg}`, b.firmware]);
  if (isMetal(s.p)) return facets;
  facets.push([`${of} measurement`, s.p.cvm.measurement]);
  const cvm = tdx(s.p);
  if (cvm) for (const i of [0, 1]) facets.push([`${of} rtmr ${i}`, cvm.rtmrs?.[i] ?? ZEROS]);
  return facets;
}

function rewound(s: Seen): Facet[] {
  const { tpm } = s.p;
  if (!s.joined || !s.p.fresh || !tpm) return [];
  return [
    [s.ak, BigInt(tpm.reset_count) * (1n << 32n) + BigInt(tpm.restart_count)],
    [s.akBoot, tpm.clock],
  ];
}

function regressed(s: Seen): Facet[] {
  const cvm = tdx(s.p);
  if (!s.p.fresh || !cvm?.tcb) return [];
  return [[together(s.at.origin, s.p.realm === "lab" ? s.chip : cvm.fmspc), cvm.tcb.evaluation]];
}

const instance = (s: Seen) => s.p.instance;
const isGCE = (p: Proof) => p.profile === "gce-tdx-vtpm";
const byBoot = (s: Seen, subject: string | undefined): Facet[] => (s.proven ? [[subject, s.chip], [together(subject, s.boot), s.chip]] : []);

const TABLES: Record<string, Table> = {
  "quote-replayed": { subject: (s) => s.p.quote, facets: (s) => (s.joined ? [[s.p.quote, s.boot]] : []) },
  "ak-on-two-chips": { subject: (s) => s.ak, facets: (s) => (s.joined ? [[s.ak, s.chip]] : []) },
  "ek-on-two-chips": { subject: (s) => s.ek, facets: (s) => byBoot(s, s.ek) },
  "instance-on-two-chips": { subject: instance, facets: (s) => byBoot(s, s.p.instance) },
  "piid-on-two-ppids": { subject: (s) => piid(s.p), facets: (s) => [[piid(s.p), ppid(s.p)]] },
  "chip-static-changed": { subject: (s) => s.chip, facets: (s) => [[s.chip, statics(s.p)]] },
  "chip-in-two-places": { subject: (s) => s.chip, facets: (s) => (s.proven ? [[s.chip, placeOf(s.p)]] : []) },
  "two-aks-for-instance": { subject: instance, facets: (s) => (s.joined && isGCE(s.p) ? [[together(s.p.instance, s.p.tpm?.key_type), s.ak]] : []) },
  "two-tpms-on-chassis": { subject: (s) => s.chip, facets: (s) => (s.proven && isMetal(s.p) ? [[s.chip, metalEK(s.p)]] : []) },
  "boot-forked": { subject: (s) => s.ak, facets: forked },
  "tpm-rewound": { subject: (s) => s.ak, facets: rewound, rising: true },
  "collateral-regressed": { subject: () => undefined, facets: regressed, rising: true },
};

/** Of how many values of a group the first entry is kept, so that time stays linear whatever a log lists. */
const FIRSTS = 16;

interface Held {
  value: string | bigint | number;
  s: Seen;
}

interface Group {
  /** Of a rule that is not rising: the last entry, and the first of each value. */
  last: Held | undefined;
  firsts: Held[];
  /** Of a rising rule: the entries of the greatest values. */
  top: Held[];
}

/** Runs the rules over entries, and gives all that they find: of a rule, severity and subject the first. */
export function compareAll(claims: Placed[], limits: Limits = LIMITS): Found[] {
  const all = claims.map(see).sort((a, b) => (a.at.origin === b.at.origin ? (a.at.index < b.at.index ? -1 : 1) : a.at.origin < b.at.origin ? -1 : 1));
  const found = new Map<string, Found>();
  const add = (rule: string, f: Finding | undefined, subject: string | undefined, ...entries: bigint[]) => {
    if (!f) return;
    const name = f.severity === "information" ? MOVED : rule;
    const id = `${name} ${f.severity} ${subject ?? ""}`;
    if (!found.has(id)) found.set(id, { ...f, rule: name, subject, entries });
  };
  for (const [rule, check] of Object.entries(SINGLES)) for (const s of all) add(rule, check({ ...s.at, after: false }), undefined, s.at.index);
  for (const [rule, table] of Object.entries(TABLES)) {
    const compare = (a: Held, b: Held) => add(rule, run(rule, a.s.at, b.s.at, limits), table.subject(b.s), a.s.at.index, b.s.at.index);
    const groups = { production: new Map<string, Group>(), lab: new Map<string, Group>() };
    for (const s of all) {
      for (const [key, value] of table.facets(s)) {
        if (key === undefined || value === undefined) continue;
        const own = groups[s.p.realm];
        let g = own.get(key);
        if (!g) own.set(key, (g = { last: undefined, firsts: [], top: [] }));
        if (table.rising) rise(g, { value, s }, compare);
        else differ(g, { value, s }, compare);
      }
    }
  }
  return [...found.values()];
}

function run(rule: string, a: Placed, b: Placed, limits: Limits): Finding | undefined {
  if (a.origin === b.origin && a.index === b.index) return undefined;
  const after = (x: Placed, y: Placed) => x.covers > y.index && x.entry.fresh?.origin === y.origin;
  return PAIRS[rule]?.({ ...a, after: after(a, b) }, { ...b, after: after(b, a) }, limits);
}

function differ(g: Group, c: Held, compare: (a: Held, b: Held) => void): void {
  if (g.last && g.last.value !== c.value) compare(g.last, c);
  let seen = false;
  for (const o of g.firsts) {
    if (o.value !== c.value) compare(o, c);
    else seen = true;
  }
  if (!seen && g.firsts.length < FIRSTS) g.firsts.push(c);
  g.last = c;
}

function rise(g: Group, c: Held, compare: (a: Held, b: Held) => void): void {
  const [first, second] = g.top;
  for (const o of g.top) compare(o, c);
  if (!first || c.value > first.value) g.top = first ? [c, first] : [c];
  else if (!second || c.value > second.value) g.top = [first, c];
}

/** The gravest finding: the first contradiction, else the first alert. */
export function gravest(found: Found[]): Found | undefined {
  return found.find((f) => f.severity === "contradiction") ?? found.find((f) => f.severity === "alert");
}
