/** docs/format.md section 18.3: what the registrars that a reader pins say of a machine, by dossiers. */
import type { Checked } from "./dossier.js";
import type { Proof } from "./entry.js";
import { PoclogError, refuse } from "./errors.js";
import { machineOf, registrarName, STATEMENTS } from "./indexmap.js";
import { checkOpening, type Opening } from "./opening.js";
import { authenticated, type AuthenticatedPlace } from "./place.js";
import type { Registrars } from "./registrar.js";
import { certified } from "./rules.js";
import { standings, type Standing } from "./standing.js";
import type { StatedPlace, StatementOf } from "./statement.js";

/** What pinned registrars say of an identity, in one log. */
export interface Subject {
  identity: string;
  /** Of each pinned registrar that made a statement that counts. */
  standings: Standing[];
  /** Announcements which explain that proofs of the identity are at two places. They change no finding. */
  moves: Announced[];
}

export interface Announced {
  registrar: string;
  source: string;
  target: string;
}

/** Of each identity whose statements a dossier covers, ascending. */
export function subjectsOf(c: Checked, registrars: Registrars, now: number): Subject[] {
  const covered = c.verdict.names.flatMap((n) => (n.name.startsWith(STATEMENTS) ? [n.name.slice(STATEMENTS.length)] : []));
  return covered.map((identity) => {
    const all = standingsOf(c, identity, registrars, now);
    return { identity, standings: all, moves: moves(c, identity, all) };
  });
}

/** What is said of an identity; undefined: of a registrar's commitments. */
function standingsOf(c: Checked, subject: string | undefined, registrars: Registrars, now: number): Standing[] {
  return standings(c.stated, { origin: c.origin, subject, registrars }, c.verdict.size ?? 0n, now);
}

const word = (p: StatedPlace) => [p.provider, p.region, p.zone].filter((s) => s !== undefined).join("/");

/** Whether an authenticated place lies in one that a registrar states. */
function isIn(at: AuthenticatedPlace, stated: StatedPlace): boolean {
  return at.provider === stated.provider && (stated.region === undefined || at.region === stated.region) && (stated.zone === undefined || at.zone === stated.zone);
}

function moves(c: Checked, identity: string, all: Standing[]): Announced[] {
  const proofs = c.placed.filter((p) => machineOf(p.entry).includes(identity)).map((p) => ({ ...p, at: authenticated(p.entry) }));
  const out: Announced[] = [];
  for (const s of all) {
    for (const m of s.announced) {
      const target = proofs.filter((p) => isIn(p.at, m.target));
      const source = proofs.filter((p) => isIn(p.at, m.source) && !target.includes(p));
      const times = [...target.map((p) => p.t1), ...source.map((p) => p.t2)];
      if (target.length === 0 || source.length === 0 || times.includes(undefined)) continue;
      const seen = Math.min(...target.map((p) => Number(p.t1)));
      const left = Math.max(...source.map((p) => Number(p.t2)));
      if (s.explains(m.source, m.target, seen, left)) out.push({ registrar: s.registrar, source: word(m.source), target: word(m.target) });
    }
  }
  return out;
}

/** What registrars are asked about. */
export interface Claimed {
  proof: Proof;
  /** Seconds since 1970; undefined: unknown. */
  t2: number | undefined;
}

/** Refuses, as step "standing", a proof to which a pinned registrar objects in a dossier, and a dossier of the proof's log that does not say. */
export function checkObjections(c: Checked, own: boolean, { proof, t2 }: Claimed): void {
  const subjects = new Map(c.verdict.subjects.map((s) => [s.identity, s]));
  for (const identity of machineOf(proof)) {
    const subject = subjects.get(identity);
    if (!subject && own) refuse("standing", `the dossier does not cover ${STATEMENTS}${identity}`);
    for (const s of subject?.standings ?? []) {
      const why = s.objection(t2);
      if (why !== undefined) refuse("standing", `${s.registrar} objects, in ${c.verdict.origin}: ${identity} is ${why}`);
    }
  }
}

/** A registrar that must vouch, and for how much at least. */
export interface Voucher {
  name: string;
  level: number;
}

/** Keys and digests of roots, which an entry's endorsements name. */
const KEY = /^[0-9a-f]{64}$/;

/** Whether a demand names whom it may. */
export function isVouching(demand: string): boolean {
  const v = voucherOf(demand);
  return v === undefined || (/^[ -~]{1,128}$/.test(v.name) && v.level >= 1 && v.level <= 3);
}

/** Whom a demand names: a registrar, as NAME or NAME@LEVEL; undefined: a key. */
export function voucherOf(demand: string): Voucher | undefined {
  if (KEY.test(demand)) return undefined;
  const at = demand.lastIndexOf("@");
  if (at < 0) return { name: demand, level: 1 };
  const level = demand.slice(at + 1);
  return { name: demand.slice(0, at), level: /^\d$/.test(level) ? Number(level) : 0 };
}

/** Refuses, as step "endorsed-by", a proof for which a registrar does not vouch by the dossier of its log. */
export function checkVouched(c: Checked, by: Voucher, openings: Opening[], registrars: Registrars, now: number, { proof, t2 }: Claimed): string {
  const fail = (detail: string): never => refuse("endorsed-by", `${by.name} ${detail}`);
  if (!registrars.has(by.name)) fail("is not pinned");
  const machine = machineOf(proof).filter((id) => certified(proof) || !id.startsWith("amd:snp:chipid:"));
  for (const { identity, standings } of c.verdict.subjects) {
    if (machine.includes(identity) && standings.some((s) => s.registrar === by.name && s.vouches(t2, by.level))) return `${by.name} vouches for ${identity}`;
  }
  const shown = openings.filter((o) => machine.includes(o.identity));
  const commitment = shown.length > 0 ? newest(c, by.name, registrars, now) : undefined;
  const opened = commitment && shown.find((o) => commits(commitment, o, by.level, t2 ?? now));
  return opened ? `${by.name} vouches for ${opened.identity} by a commitment` : fail(`does not vouch at level ${by.level}`);
}

/** The newest commitment of a registrar, if the dossier covers what the registrar states. */
function newest(c: Checked, name: string, registrars: Registrars, now: number): StatementOf<"commit"> | undefined {
  if (!c.verdict.names.some((n) => n.name === registrarName(name))) return undefined;
  return standingsOf(c, undefined, registrars, now).find((s) => s.registrar === name)?.commitment;
}

function commits(is: StatementOf<"commit">, o: Opening, level: number, t: number): boolean {
  if (is.level < level || t < is.from || t >= is.until) return false;
  try {
    checkOpening(o, is);
    return true;
  } catch (e) {
    if (e instanceof PoclogError) return false;
    throw e;
  }
}
