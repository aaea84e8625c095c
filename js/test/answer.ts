/** What this module makes of a file, in the words that tests compare: in Node, in a page, in Go. */
import {
  bundleProfile, checkContradiction, checkDossier, checkIndexWrong, checkReceipt, checkSplitView, compareEntries, nonce, parseAppraisalPolicy, parseBundle,
  parseChallenge, parseCollateral, parseContradiction, parseDossier, parseEntry, parseEnvelope, parseExceptions, parseIdentity, parseIndexWrong, parsePolicy,
  parseReceipt, parseSplitView, parseSubmission, PoclogError, type Compared, type Demands, type DossierQuestion, type Policy,
} from "poclog-verify";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

export interface Asked {
  op: string;
  format?: string;
  file: string;
  dossier?: string;
  policy?: string;
  time?: string;
  realm?: "production" | "lab";
  demands?: Demands | Record<string, unknown>;
  /** Of op "rules". */
  claims?: { leaf: string; origin: string; index: string; t1?: string; t2?: string; after?: boolean }[];
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
  const policy = policyOf(a.policy ?? "");
  if (a.op === "receipt") {
    const v = checkReceipt(file, policy, { now: new Date(a.time ?? 0), ...a.demands });
    if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
    return { outcome: `${v.outcome} ${v.index} of ${v.size} t1 ${v.notBefore ?? "-"} t2 ${v.notAfter ?? "-"}` };
  }
  if (a.op === "dossier") return dossier(a, file, policy);
  if (a.op === "stapled") {
    const v = checkReceipt(file, policy, { now: new Date(a.time ?? 0), ...a.demands, dossier: octets(a.dossier ?? "") });
    if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
    return { outcome: `${v.outcome} ${v.index} of ${v.size} t1 ${v.notBefore ?? "-"} t2 ${v.notAfter ?? "-"}` };
  }
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

function dossier(a: Asked, file: Uint8Array, policy: Policy): Answer {
  const { since, ...d } = (a.demands ?? {}) as DossierQuestion & { since?: string };
  const v = checkDossier(file, policy, { ...d, now: new Date(a.time ?? 0), ...(since ? { since: new Date(since) } : {}) });
  if (v.refused) return { outcome: `refused ${v.refused.id}`, detail: v.refused.detail };
  const names = v.names.map((n) => `${n.name} [${n.numbers.join(" ")}]`).join(" ");
  // Which pairs are compared beyond the least is free: the gravest finding is what must agree.
  const gravest = v.found[0]?.severity ?? "information";
  return { outcome: `${v.outcome} size ${v.size} seen ${v.asOf ?? "-"}; ${names}; ${gravest}` };
}

function rules(a: Asked): Answer {
  const claims = (a.claims ?? []).map((c): Compared => {
    const entry = parseEntry(octets(c.leaf));
    if (entry.kind !== "proof") throw new PoclogError("format", "no proof");
    const bound = (t: string | undefined) => (t === undefined ? undefined : BigInt(t));
    return { origin: c.origin, index: BigInt(c.index), t1: bound(c.t1), t2: bound(c.t2), entry, after: c.after ?? false };
  });
  const found = compareEntries(claims).map((f) => [f.rule, f.severity, ...f.implicated].join(" "));
  return { outcome: found.sort().join("; ") || "nothing" };
}
