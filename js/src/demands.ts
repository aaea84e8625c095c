/** docs/format.md section 10, step 8: what a reader wants of an entry beyond its being logged. */
import type { Proof } from "./entry.js";
import { refuse } from "./errors.js";
import { PROFILES } from "./challenge.js";
import { isHex } from "./bytes.js";
import { isIdentity } from "./identities.js";
import { authenticated } from "./place.js";
import { absent, type Steps } from "./steps.js";
import { SKEW, type Proven } from "./proven.js";
import { isVouching, voucherOf } from "./subjects.js";

/** Left out: no demand, but of realm and level. Times are in seconds. */
export interface Demands {
  /** Default "production". */
  realm?: "production" | "lab";
  /** The least level. Default 2. */
  level?: 0 | 2;
  /** Any of these. */
  profile?: string[];
  /** <provider>, <provider>/<region> or <provider>/<zone>. */
  place?: string;
  chassis?: string;
  /** Ids of checks, all of which must have passed. */
  require?: string[];
  /** The name that an owner's endorsement gives. */
  owner?: string;
  /** Who must vouch, all of them: keys or digests of roots in hexadecimal; or registrars that are pinned, as NAME or NAME@LEVEL, by the dossier of the log. */
  endorsedBy?: string[];
  /** Any of these. */
  tcb?: string[];
  /** In hexadecimal. */
  measurement?: string;
  /** In hexadecimal. */
  userData?: string;
  /** Keys, all of which signed the submission: digests of DER SubjectPublicKeyInfo in hexadecimal. */
  publisher?: string[];
  /** Digests of appraisal policies, by any of which the log may have judged. */
  appraisalDigest?: string[];
  verdict?: "logged" | "audited";
  maxAge?: number;
  maxCheckpointAge?: number;
  maxInterval?: number;
}

/** The steps of the demands, in their order. */
export const DEMAND_STEPS = [
  "realm", "level", "profile", "place", "chassis", "require", "owner", "endorsed-by", "tcb",
  "measurement", "user-data", "publisher", "appraisal-digest", "verdict", "max-age", "max-checkpoint-age", "max-interval",
];

const isString = (v: unknown): v is string => typeof v === "string" && v !== "";
const isList = (v: unknown) => Array.isArray(v) && v.length > 0 && v.every(isString);
const isSeconds = (v: unknown) => Number.isSafeInteger(v) && (v as number) >= 1;
const among = (...values: unknown[]) => (v: unknown) => values.includes(v);

const FORMS: Record<keyof Demands, (v: unknown) => boolean> = {
  realm: among("production", "lab"),
  level: among(0, 2),
  profile: (v) => isList(v) && (v as string[]).every((p) => (PROFILES as readonly string[]).includes(p)),
  place: (v) => isString(v) && isPlace(v),
  chassis: (v) => isString(v) && isIdentity(v),
  require: isList,
  owner: isString,
  endorsedBy: (v) => isList(v) && (v as string[]).every(isVouching),
  tcb: isList,
  measurement: (v) => isString(v) && v.length === 96 && isHex(v),
  userData: (v) => isString(v) && v.length === 64 && isHex(v),
  publisher: (v) => isList(v) && (v as string[]).every((s) => s.length === 64 && isHex(s)),
  appraisalDigest: (v) => isList(v) && (v as string[]).every((s) => s.length === 64 && isHex(s)),
  verdict: among("logged", "audited"),
  maxAge: isSeconds,
  maxCheckpointAge: isSeconds,
  maxInterval: isSeconds,
};

function isPlace(s: string): boolean {
  const parts = s.split("/");
  return parts.length <= 2 && parts.every((p) => p !== "");
}

/** Refuses demands that cannot be meant. */
export function checkDemands(d: Demands): void {
  for (const [name, value] of Object.entries(d)) {
    const form = Object.hasOwn(FORMS, name) ? FORMS[name as keyof Demands] : undefined;
    if (!form) refuse("demands", `${name} is no demand`);
    if (value !== undefined && !form(value)) refuse("demands", `${name}: ${String(value)}`);
  }
  if (d.place !== undefined && d.level === 0) refuse("demands", "a place is never proven at level 0");
}

/** No interval is shorter: t2 may be before t1, where clocks differ. */
const MAX_GAP = 1n << 63n;

/** Holds an entry to the demands. */
export function meetDemands(p: Proven, proof: Proof, d: Demands, now: bigint, audited: boolean, steps: Steps): void {
  const made = (id: string, asked: unknown, ok: boolean, detail: string) =>
    steps.run(
      id,
      () => (asked === undefined || ok ? undefined : refuse(id, detail)),
      () => (asked === undefined ? absent("not asked for") : detail),
    );
  const realm = d.realm ?? "production";
  const level = d.level ?? 2;
  made("realm", realm, proof.realm === realm, `${proof.realm}, asked for ${realm}`);
  made("level", level, proof.level >= level, `${proof.level}, asked for ${level}`);
  made("profile", d.profile, !!d.profile?.includes(proof.profile), proof.profile);
  made("place", d.place, d.place !== undefined && stands(proof, d.place), `${placeOf(proof)}, asked for ${d.place}`);
  made("chassis", d.chassis, !!proof.chassis?.includes(d.chassis ?? ""), proof.chassis?.join(", ") ?? "none");
  const missing = (d.require ?? []).filter((c) => !proof.checks?.includes(c));
  made("require", d.require, missing.length === 0, missing.length === 0 ? "all passed" : `not passed: ${missing.join(", ")}`);
  const owners = (proof.endorsements ?? []).filter((e) => e.kind === "owner-endorsement").map((e) => e.says);
  made("owner", d.owner, owners.includes(d.owner ?? ""), owners.join(", ") || "nobody says whose it is");
  const by = (proof.endorsements ?? []).map((e) => e.by);
  const keys = d.endorsedBy?.filter((k) => voucherOf(k) === undefined);
  const silent = (keys ?? []).filter((k) => !by.includes(k));
  // Registrars are asked by dossiers: until then nothing is said of them.
  if (keys?.length !== 0) made("endorsed-by", keys, silent.length === 0, silent.length === 0 ? `${keys?.length} keys vouch` : `not by ${silent.join(", ")}`);
  const status = "tcb" in proof.cvm ? proof.cvm.tcb?.status : undefined;
  made("tcb", d.tcb, !!status && !!d.tcb?.includes(status), status ?? "no status");
  made("measurement", d.measurement, proof.cvm.measurement === d.measurement, proof.cvm.measurement);
  made("user-data", d.userData, proof.fresh?.user_data === d.userData, proof.fresh?.user_data ?? "no challenge");
  const strangers = (d.publisher ?? []).filter((k) => !proof.publishers?.includes(k));
  made("publisher", d.publisher, strangers.length === 0, strangers.length === 0 ? "all signed" : `not by ${strangers.join(", ")}`);
  const judge = proof.evidence.policy.sha256;
  made("appraisal-digest", d.appraisalDigest, !!d.appraisalDigest?.includes(judge), judge);
  made("verdict", d.verdict, d.verdict === "logged" || audited, audited ? "audited" : "logged");
  const atMost = (id: string, asked: number | undefined, age: bigint | undefined, least = -SKEW) =>
    made(id, asked, asked !== undefined && age !== undefined && age <= BigInt(asked) && age >= least, age === undefined ? "unknown" : `${age} s`);
  atMost("max-age", d.maxAge, since(p.t1, now));
  atMost("max-checkpoint-age", d.maxCheckpointAge, since(p.seen, now));
  atMost("max-interval", d.maxInterval, p.t2 === undefined ? undefined : since(p.t1, p.t2), -MAX_GAP);
}

function since(t: bigint | undefined, now: bigint): bigint | undefined {
  return t === undefined ? undefined : now - t;
}

function stands(proof: Proof, asked: string): boolean {
  const [provider, rest] = asked.split("/");
  const place = authenticated(proof);
  return place.provider === provider && (rest === undefined || rest === place.region || rest === place.zone);
}

function placeOf(proof: Proof): string {
  const p = authenticated(proof);
  return [p.provider, p.region, p.zone].filter((s) => s).join("/") || "no authenticated place";
}
