/** What this module makes of a file, in the words that tests compare: in Node, in a page, in Go. */
import {
  admitStatement, bundleProfile, checkContradiction, checkDossier, checkIndexWrong, checkReceipt, checkSplitView, compareEntries, findings, nonce,
  parseAppraisalPolicy, parseBundle, parseChallenge, parseCollateral, parseContradiction, parseDossier, parseEntry, parseEnvelope, parseExceptions,
  parseIdentity, parseIndexWrong, parseOpening, parsePolicy, parseReceipt, parseRegistrars, parseSplitView, parseStatement, parseStatementEnvelope,
  parseStatementSubmission, parseSubmission, pin, PoclogError, standings, type Compared, type Demands, type DossierQuestion, type DossierVerdict, type Found, type Policy,
  type Registrar, type Standing, type Stated,
} from "poclog-verify";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

export interface Asked {
  op: string;
  format?: string;
  file: string;
  dossiers?: string[];
  /** Of op "standing": a reader's file of registrars, and openings. */
  pins?: string;
  openings?: string[];
  policy?: string;
  time?: string;
  realm?: "production" | "lab";
  demands?: Demands | Record<string, unknown>;
  register?: Register;
  /** Of ops "rules" and "findings". */
  claims?: { leaf: string; origin: string; index: string; t1?: string; t2?: string; after?: boolean }[];
}

/** What registrars stated of a subject, as it came to a log. Times are seconds since 1970. */
interface Register {
  subject: string;
  listed: Registrar[];
  pinned: Registrar[];
  stated: { number: number; logged: number; bounded: boolean; envelope: string }[];
  size: number;
  now: number;
  t2: number;
}

export interface Answer {
  outcome: string;
  detail?: string;
}

const latin1 = (b: Uint8Array) => b.reduce((s, o) => s + String.fromCharCode(o), "");

function octets(base64: string): Uint8Array {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** Policies that were read: tests ask about few, often. */
const policies = new Map<string, Policy>();

function policyOf(base64: string): Policy {
  const read = policies.get(base64) ?? parsePolicy(octets(base64));
  if (policies.size < 100) policies.set(base64, read);
  return read;
}
const sum = (b: Uint8Array) => bytesToHex(sha256(b)).slice(0, 16);

/** Each format's parser, and what is compared of what it read. */
const FORMATS: Record<string, (file: Uint8Array) => string> = {
  bundle: (f) => {
    const b = parseBundle(f);
    const items = Object.entries(b).map(([n, o]) => `${n} ${sum(o)}`);
    return [bundleProfile(b) ?? "none", ...items].join(" ");
  },
  collateral: (f) => `${parseCollateral(f).items.length}`,
  challenge: (f) => nonce(parseChallenge(f)),
  policy: (f) => parseAppraisalPolicy(f).realm,
  dossier: (f) => `${parseDossier(f).names.length}`,
  "index-wrong": (f) => parseIndexWrong(f).name,
  entry: (f) => parseEntry(f).kind,
  exceptions: (f) => parseExceptions(f).auditor,
  statement: (f) => parseStatement(f).type,
  "statement-envelope": (f) => `${parseStatementEnvelope(f).statement.registrar} ${parseStatementEnvelope(f).signatures.length}`,
  "statement-submission": (f) => `${parseStatementSubmission(f).documents?.length ?? 0}`,
  registrars: (f) => `${parseRegistrars(f).names.length}`,
  opening: (f) => parseOpening(f).identity,
  submission: (f) => sum(parseSubmission(f).bundle),
  envelope: (f) => sum(parseEnvelope(f).bundle),
  contradiction: (f) => parseContradiction(f).rule,
  receipt: (f) => `${parseReceipt(f).index} ${sum(parseReceipt(f).entry)}`,
  "split-view": (f) => parseSplitView(f).origin,
  identity: (f) => parseIdentity(latin1(f)),
  tlogpolicy: (f) => `${parsePolicy(f).logs.length}`,
};

export function answer(a: Asked): Answer {
  try {
    return asked(a);
  } catch (e) {
    if (e instanceof PoclogError) return { outcome: "refused", detail: e.message };
    return { outcome: `threw ${String((e as Error).stack ?? e)}` };
  }
}

function asked(a: Asked): Answer {
  const file = octets(a.file ?? "");
  if (a.op === "format") {
    const read = FORMATS[a.format ?? ""];
    if (!read) throw new Error(`format ${a.format}`);
    return { outcome: `ok ${read(file)}` };
  }
  if (a.op === "rules") return rules(a);
  if (a.op === "findings") return across(a);
  if (a.op === "stated") return stated(a.register as Register);
  const policy = policyOf(a.policy ?? "");
  if (a.op === "receipt") {
    const v = checkReceipt(file, policy, { now: new Date(a.time ?? 0), ...a.demands });
    if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
    return { outcome: `${v.outcome} ${v.index} of ${v.size} t1 ${v.notBefore ?? "-"} t2 ${v.notAfter ?? "-"}` };
  }
  if (a.op === "dossier") return dossier(a, file, policy);
  if (a.op === "stapled") {
    const v = checkReceipt(file, policy, { now: new Date(a.time ?? 0), ...a.demands, dossiers: (a.dossiers ?? []).map(octets) });
    if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
    return { outcome: `${v.outcome} ${v.index} of ${v.size} t1 ${v.notBefore ?? "-"} t2 ${v.notAfter ?? "-"}` };
  }
  if (a.op === "standing") return standing(a, file, policy);
  if (a.op === "index-wrong") {
    const v = checkIndexWrong(file, policy);
    if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
    return { outcome: `found ${v.name} entry ${v.entry} omitted ${v.wrong === "left out"}` };
  }
  if (a.op === "contradiction") {
    const v = checkContradiction(file, policy, a.realm ? { realm: a.realm } : {});
    if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
    if (v.outcome === "undecided") return { outcome: "undecided" };
    return { outcome: `${v.severity} ${v.verdict} ${v.implicated.join(" ")}` };
  }
  const v = checkSplitView(file, policy);
  return v.refused ? { outcome: `refused ${v.refused.id}`, detail: v.refused.detail } : { outcome: `split ${v.origin}` };
}

/** Whether a receipt passes, and what the registrars that the reader pins say of each identity. */
function standing(a: Asked, file: Uint8Array, policy: Policy): Answer {
  const registrars = parseRegistrars(octets(a.pins ?? ""));
  const openings = (a.openings ?? []).map((o) => parseOpening(octets(o)));
  const dossiers = (a.dossiers ?? []).map(octets);
  const demands = (a.demands ?? {}) as Demands;
  const common = { now: new Date(a.time ?? 0), registrars, ...(demands.realm ? { realm: demands.realm } : {}) };
  const subjects = subjectsOf(checkDossier(dossiers[0] as Uint8Array, policy, common));
  const v = checkReceipt(file, policy, { ...demands, ...common, dossiers, openings });
  const said = subjects.length > 0 ? JSON.stringify(subjects) : "null";
  return { outcome: `${v.refused?.id ?? v.outcome} ${said}`, detail: v.refused?.detail ?? "" };
}

function dossier(a: Asked, file: Uint8Array, policy: Policy): Answer {
  const { since, ...d } = (a.demands ?? {}) as DossierQuestion & { since?: string };
  const v = checkDossier(file, policy, { ...d, now: new Date(a.time ?? 0), ...(since ? { since: new Date(since) } : {}) });
  if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
  const names = v.names.map((n) => `${n.name} [${n.numbers.join(" ")}]`).join(" ");
  return { outcome: `${v.outcome} size ${v.size} seen ${v.asOf ?? "-"}; ${names}; ${listOf(v.found)}` };
}

/** All that is found, in its order. */
function listOf(found: Found[]): string {
  if (found.length === 0) return "nothing";
  return "found " + found.map((f) => [f.severity, f.rule, f.subject ?? "", ...f.implicated].join(" ")).join("; ");
}

function across(a: Asked): Answer {
  const claims = claimsOf(a).map(({ after, ...c }) => ({ ...c, covers: after && c.entry.fresh ? c.entry.fresh.size : 0n }));
  return { outcome: listOf(findings(claims)) };
}

/** What a dossier says of identities, in the words of the vectors. */
export function subjectsOf(v: DossierVerdict): object[] {
  return v.subjects.map(({ identity, standings, moves }) => ({ identity, standings: standings.map(saysOf), ...(moves.length > 0 ? { moves } : {}) }));
}

/** What a registrar says, in the words of the vectors. */
export function saysOf(s: Standing): object {
  const at = (t: number | undefined) => (t === undefined ? undefined : new Date(t * 1000).toISOString().replace(".000", ""));
  const said = {
    registrar: s.registrar, endorsed: s.endorsed, level: s.endorsement?.level, label: s.endorsement?.label, until: at(s.endorsement?.until),
    revoked: at(s.revocation?.since), reason: s.revocation?.reason, frozen_until: at(s.frozenUntil),
  };
  return Object.fromEntries(Object.entries(said).filter(([, v]) => v !== undefined));
}

const LOG = "log.test/2026";

function stated(r: Register): Answer {
  const [listed, pinned] = [pin(r.listed), pin(r.pinned)];
  const out: string[] = [];
  const all: Stated[] = [];
  const admitted: Stated[] = [];
  for (const s of r.stated) {
    const it = { number: BigInt(s.number), logged: s.logged, bounded: s.bounded, envelope: parseStatementEnvelope(octets(s.envelope)) };
    all.push(it);
    try {
      admitStatement(it.envelope, admitted, LOG, listed);
      admitted.push(it);
      out.push("ok");
    } catch (e) {
      if (!(e instanceof PoclogError)) throw e;
      out.push(e.step);
    }
  }
  const scope = (subject: string | undefined) => ({ origin: LOG, subject, registrars: pinned });
  for (const s of standings(all, scope(r.subject), BigInt(r.size), r.now)) {
    out.push(JSON.stringify(saysOf(s)));
    for (const level of [1, 2, 3]) out.push(`${s.vouches(r.t2, level)} ${s.vouches(undefined, level)}`);
    out.push(`objects ${s.objects(r.t2)} ${s.objects(undefined)}`);
    out.push(`explains ${s.explains({ provider: "acme" }, { provider: "b" }, r.t2, r.t2 - 20 * 86400)}`);
  }
  for (const s of standings(all, scope(undefined), BigInt(r.size), r.now)) if (s.commitment) out.push(`${s.registrar} committed to ${s.commitment.root}`);
  return { outcome: out.join("; ") };
}

function claimsOf(a: Asked): Compared[] {
  return (a.claims ?? []).map((c): Compared => {
    const entry = parseEntry(octets(c.leaf));
    if (entry.kind !== "proof") throw new PoclogError("format", "no proof");
    const bound = (t: string | undefined) => (t === undefined ? undefined : BigInt(t));
    return { origin: c.origin, index: BigInt(c.index), t1: bound(c.t1), t2: bound(c.t2), entry, after: c.after ?? false };
  });
}

function rules(a: Asked): Answer {
  const found = compareEntries(claimsOf(a)).map((f) => [f.rule, f.severity, ...f.implicated].join(" "));
  return { outcome: found.sort().join("; ") || "nothing" };
}
