/** docs/format.md sections 18.2 and 18.3: which statements count, and what they say of a subject. */
import { PoclogError, refuse } from "./errors.js";
import type { Registrars } from "./registrar.js";
import type { Statement, StatementEnvelope, StatementOf, StatedPlace, StatementType } from "./statement.js";

/** How far the clocks of honest parties differ, in seconds. */
const SKEW = 60;
/** How long a freeze lasts, in seconds. */
const FREEZE = 14 * 86400;
/** The greatest time that a file can have, in seconds since 1970. */
const LAST_TIME = 253_402_300_799;
/** How far a serial may be above the last. */
const MAX_STEP = 1001;

/** A statement where a log has it. */
export interface Stated {
  /** Of the entry. */
  number: bigint;
  /** When it was logged, in seconds since 1970: its entry's t2, or, where that is unknown, the entry's time. */
  logged: number;
  /** logged is the entry's t2, and not the log's word. */
  bounded: boolean;
  envelope: StatementEnvelope;
}

interface Endorsed {
  digest: string;
  is: StatementOf<"endorse">;
  revoked: StatementOf<"revoke"> | undefined;
}

/** What the statements of one registrar on one subject come to, in the log's order. */
class Account {
  last = 0;
  readonly endorsed: Endorsed[] = [];
  readonly moves: { is: StatementOf<"move">; logged: number; bounded: boolean }[] = [];
  commitment: StatementOf<"commit"> | undefined;
  /** When the last freeze was logged, if neither an endorsement nor a thaw followed. */
  freeze: number | undefined;

  frozen(at: number): boolean {
    return this.freeze !== undefined && at < this.freeze + FREEZE;
  }

  /** Endorsements that a revocation is of. */
  revocable(s: StatementOf<"revoke">): Endorsed[] {
    return this.endorsed.filter((e) => !e.revoked && (s.of === undefined || s.of === e.digest));
  }

  /** The endorsement that is in force at a time: the newest whose span has it. */
  inForce(t: number): Endorsed | undefined {
    return this.endorsed.filter((e) => e.is.from <= t && t < e.is.until).at(-1);
  }

  add({ logged, bounded, envelope: { statement: s, digest } }: Stated): void {
    this.last = s.serial;
    if (s.type === "endorse") this.endorsed.push({ digest, is: s, revoked: undefined });
    if (s.type === "revoke") for (const e of this.revocable(s)) e.revoked = s;
    if (s.type === "move") this.moves.push({ is: s, logged, bounded });
    if (s.type === "commit") this.commitment = s;
    if (s.type === "freeze") this.freeze = logged;
    if (s.type === "endorse" || s.type === "thaw") this.freeze = undefined;
  }
}

/** Steps 4 and 5 of admission: what the statements before a statement leave it to say. */
function follows(a: Account, s: Statement): void {
  if (s.serial <= a.last) refuse("statement.serial", `serial ${s.serial}: the last was ${a.last}`);
  if (s.type === "revoke" && a.revocable(s).length === 0) refuse("statement.subject", "no endorsement is there that was not revoked");
  if (s.type === "thaw" && a.freeze === undefined) refuse("statement.subject", "no freeze is there that neither an endorsement nor a thaw followed");
}

/** Step 7: of which type the threshold has to be met. */
function demanded(a: Account, s: Statement): StatementType {
  return s.type === "freeze" && a.freeze !== undefined ? "endorse" : s.type;
}

/** Every subject has an account with each registrar; a registrar's commitments have one. */
const subjectOf = (s: Statement) => (s.type === "commit" ? undefined : s.subject);

/** Where statements are, and whose count. */
export interface Scope {
  origin: string;
  /** undefined: a registrar's commitments. */
  subject: string | undefined;
  registrars: Registrars;
}

/** The statements that are of a registrar's account, in the log's order. */
function ofAccount(stated: Stated[], name: string, origin: string, subject: string | undefined): Stated[] {
  const own = stated.filter(({ envelope: { statement: s } }) => s.origin === origin && s.registrar === name && subjectOf(s) === subject);
  return own.sort((x, y) => (x.number < y.number ? -1 : 1));
}

/** A registrar's account as a reader keeps it, of the statements below a size. */
function account(stated: Stated[], name: string, scope: Scope, size: bigint): Account {
  const a = new Account();
  for (const it of ofAccount(stated, name, scope.origin, scope.subject)) {
    const { number, envelope } = it;
    if (number >= size) break;
    const s = envelope.statement;
    try {
      follows(a, s);
    } catch (e) {
      if (e instanceof PoclogError) continue;
      throw e;
    }
    const good = scope.registrars.judge(name, envelope).filter((g) => g.wrong === undefined).length;
    if (good >= scope.registrars.threshold(name, demanded(a, s))) a.add(it);
  }
  return a;
}

/**
 * Section 18.2: refuses a statement that a log does not admit now, by the check that fails. Stated is
 * what the log admitted before, under whichever keys it listed then.
 */
export function admitStatement(envelope: StatementEnvelope, stated: Stated[], origin: string, listed: Registrars): void {
  const s = envelope.statement;
  if (s.origin !== origin) refuse("statement.origin", `the statement is for ${s.origin}`);
  if (!listed.has(s.registrar)) refuse("statement.registrar", `the log does not list ${s.registrar}`);
  const signers = listed.judge(s.registrar, envelope);
  for (const { wrong } of signers) if (wrong !== undefined) refuse("statement.signature", wrong);
  const a = new Account();
  for (const b of ofAccount(stated, s.registrar, origin, subjectOf(s))) a.add(b);
  follows(a, s);
  if (s.serial > a.last + MAX_STEP) refuse("statement.serial", `serial ${s.serial} is over ${MAX_STEP} above the last`);
  const want = listed.threshold(s.registrar, demanded(a, s));
  if (signers.length < want) refuse("statement.signature", `${signers.length} of ${want} signatures`);
}

/** What a registrar says of a subject, at a time. Labels and places are its words. */
export class Standing {
  readonly #account: Account;

  constructor(
    readonly registrar: string,
    account: Account,
    /** Seconds since 1970. */
    readonly now: number,
  ) {
    this.#account = account;
  }

  /** The endorsement that is in force now, revoked or not. */
  get endorsement(): StatementOf<"endorse"> | undefined {
    return this.#account.inForce(this.now)?.is;
  }

  /** The revocation of the endorsement that is in force now. */
  get revocation(): StatementOf<"revoke"> | undefined {
    return this.#account.inForce(this.now)?.revoked;
  }

  /** Until when the subject is frozen; undefined: it is not. */
  get frozenUntil(): number | undefined {
    return this.#account.frozen(this.now) ? Math.min((this.#account.freeze as number) + FREEZE, LAST_TIME) : undefined;
  }

  /** Whether an endorsement is in force now, not revoked, and the subject not frozen. */
  get endorsed(): boolean {
    return this.endorsement !== undefined && this.revocation === undefined && this.frozenUntil === undefined;
  }

  /** For people. The label is quoted: it is the registrar's word. */
  get says(): string {
    const e = this.endorsement;
    const out = e ? [`endorsed at level ${e.level} as ${JSON.stringify(e.label)} until ${shownTime(e.until)}`] : ["not endorsed now"];
    return [...out, ...[this.objection(this.now)].filter((s) => s !== undefined)].join(", ");
  }

  /** JSON has what it says, not what it is made of. */
  toJSON(): object {
    const { registrar, now, endorsement, revocation, frozenUntil, endorsed } = this;
    return { registrar, now, endorsement, revocation, frozenUntil, endorsed };
  }

  /** Of a registrar's commitments: the newest. */
  get commitment(): StatementOf<"commit"> | undefined {
    return this.#account.commitment;
  }

  /** Why the registrar objects to a proof of the subject; undefined: it does not. t2 is the time before which the proof was made; undefined: unknown. */
  objection(t2: number | undefined): string | undefined {
    if (this.frozenUntil !== undefined) return `frozen until ${shownTime(this.frozenUntil)}`;
    for (const e of [this.#account.endorsed.at(-1), this.#account.inForce(t2 ?? this.now)]) {
      const r = e?.revoked;
      if (r && (t2 === undefined || t2 + SKEW >= r.since)) return `revoked as of ${shownTime(r.since)}: ${r.reason}`;
    }
    return undefined;
  }

  /** The moves that were announced, in the log's order. */
  get announced(): StatementOf<"move">[] {
    return this.#account.moves.map((m) => m.is);
  }

  /** Whether the registrar objects to a proof of the subject. */
  objects(t2: number | undefined): boolean {
    return this.objection(t2) !== undefined;
  }

  /** Whether the registrar vouches for a proof of the subject at a level. */
  vouches(t2: number | undefined, level: number): boolean {
    const e = this.#account.inForce(t2 ?? this.now);
    return e !== undefined && e.is.level >= level && !this.objects(t2);
  }

  /**
   * Whether an announcement explains that a machine which was at source is at target: seen there at
   * a time, and at source no later than another.
   */
  explains(source: StatedPlace, target: StatedPlace, seen: number, left: number): boolean {
    if (!this.endorsed) return false;
    return this.#account.moves.some(
      ({ is, logged, bounded }) => bounded && logged < is.from && samePlace(is.source, source) && samePlace(is.target, target) && is.from <= seen && seen < is.until && left <= is.from,
    );
  }
}

function shownTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000", "");
}

function samePlace(a: StatedPlace, b: StatedPlace): boolean {
  return a.provider === b.provider && a.region === b.region && a.zone === b.zone;
}

/** Section 18.3: what each pinned registrar that made a statement says of a subject, in a tree of a size and at a time. */
export function standings(stated: Stated[], scope: Scope, size: bigint, now: number): Standing[] {
  return scope.registrars.names
    .map((name) => ({ name, account: account(stated, name, scope, size) }))
    .filter(({ account }) => account.last > 0)
    .map(({ name, account }) => new Standing(name, account, now));
}
