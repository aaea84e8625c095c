/** docs/format.md section 17, step 8: the rules over many entries, by classes and not by all pairs. */
import type { Proof } from "./entry.js";
import { authenticated } from "./place.js";
import { ak, chip, ekOf, LIMITS, metalEK, MOVED, PAIRS, piid, ppid, SINGLES, tdx, type Claim, type Finding, type Limits } from "./rules.js";

/** What a rule found, between which entries of one log. */
export interface Found extends Finding {
  rule: string;
  entries: bigint[];
}

/** An entry, and the size of the tree that its challenge is shown to be of. */
export type Placed = Omit<Claim, "after"> & { covers: bigint };

/**
 * Of each rule: within which class entries can contradict, and by which value they agree. A rule may
 * have several. undefined: the rule finds nothing in the entry.
 */
type Facet = (c: Placed) => [of: string | undefined, value: string | undefined];

const boot = (p: Proof) => p.tpm && `${p.tpm.reset_count} ${p.tpm.restart_count}`;
const together = (...parts: (string | undefined)[]) => (parts.includes(undefined) ? undefined : parts.join(" "));
const ofProof = (of: (p: Proof) => string | undefined, value: (p: Proof) => string | undefined): Facet => (c) => [of(c.entry), value(c.entry)];
/** A key's order of boots counts as well as its chip. */
const onChips = (of: (p: Proof) => string | undefined): Facet[] => [
  ofProof(of, (p) => together(chip(p), piid(p) ?? "", boot(p) ?? "")),
];
const statics = (p: Proof) => (p.cvm.technology === "snp" ? p.cvm.snp.product : `${p.cvm.fmspc} ${p.cvm.pceid}`);
const placeOf = (p: Proof) => JSON.stringify(authenticated(p));
const launched = (p: Proof) => JSON.stringify([p.tpm?.pcrs, p.cvm.measurement, tdx(p)?.rtmrs]);
const family = (p: Proof) => (p.realm === "lab" ? chip(p) : tdx(p)?.fmspc);

const FACETS: Record<string, Facet[]> = {
  "quote-replayed": [ofProof((p) => together(ak(p), p.quote), (p) => together(boot(p), p.tpm?.extra_data ?? ""))],
  "ak-on-two-chips": onChips(ak),
  "ek-on-two-chips": onChips(ekOf),
  "instance-on-two-chips": onChips((p) => p.instance),
  "piid-on-two-ppids": [ofProof(piid, ppid)],
  "chip-static-changed": [ofProof(chip, statics)],
  "chip-in-two-places": [ofProof(chip, placeOf)],
  "two-aks-for-instance": [ofProof((p) => together(p.instance, p.tpm?.key_type), ak)],
  "two-tpms-on-chassis": [ofProof(chip, metalEK)],
  "boot-forked": [ofProof((p) => together(ak(p), boot(p)), launched)],
  "tpm-rewound": [ofProof(ak, (p) => together(boot(p), String(p.tpm?.clock)))],
  "collateral-regressed": [(c) => [together(c.origin, family(c.entry)), String(tdx(c.entry)?.tcb?.evaluation)]],
};

/** Of how many values of a class the first entry is kept, so that time stays linear whatever a log lists. */
const FIRSTS = 64;

const WORTH = { contradiction: 2, alert: 1, information: 0 };

/** Runs every rule over entries of one log in ascending order; of each rule the worst finding is given. */
export function compareAll(all: Placed[], limits: Limits = LIMITS): Found[] {
  const found = new Map<string, Found>();
  const add = (rule: string, f: Finding | undefined, ...entries: bigint[]) => {
    if (!f) return;
    const name = f.severity === "information" ? MOVED : rule;
    const before = found.get(name);
    if (!before || WORTH[f.severity] > WORTH[before.severity]) found.set(name, { rule: name, ...f, entries });
  };
  for (const [rule, check] of Object.entries(SINGLES)) for (const c of all) add(rule, check({ ...c, after: false }), c.index);
  for (const [rule, facets] of Object.entries(FACETS)) {
    const compare = (a: Placed, b: Placed) => {
      const [x, y] = [{ ...a, after: a.covers > b.index }, { ...b, after: b.covers > a.index }];
      add(rule, PAIRS[rule]?.(x, y, limits), a.index, b.index);
    };
    for (const facet of facets) classes(all, facet, compare);
  }
  return [...found.values()].sort((a, b) => WORTH[b.severity] - WORTH[a.severity]);
}

interface Class {
  last: Placed;
  firsts: Map<string, Placed>;
}

/** Compares each entry with the one before it in its class, and with the first of each value. */
function classes(all: Placed[], facet: Facet, compare: (a: Placed, b: Placed) => void): void {
  const seen = new Map<string, Class>();
  for (const c of all) {
    const [of, value] = facet(c);
    if (of === undefined || value === undefined) continue;
    let k = seen.get(of);
    if (!k) {
      seen.set(of, { last: c, firsts: new Map([[value, c]]) });
      continue;
    }
    compare(k.last, c);
    for (const [v, first] of k.firsts) if (v !== value && first !== k.last) compare(first, c);
    if (k.firsts.size < FIRSTS && !k.firsts.has(value)) k.firsts.set(value, c);
    k.last = c;
  }
}
