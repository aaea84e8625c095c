/** C2SP tlog-policy: which logs count, and how many of which witnesses must have cosigned. */
import { latin1, shown, toHex } from "./bytes.js";
import { refuse } from "./errors.js";
import { MAX_TLOG_POLICY } from "./limits.js";
import { COSIGNATURE, ED25519, MLDSA44, parseVerifierKey, type VerifierKey } from "./vkey.js";

const STEP = "policy";
/** Logs, witnesses and groups, each. */
const MAX_LINES = 256;

/** What may stand where a quorum is wanted. */
export type Quorum = Witness | Group | "none";

export interface Witness {
  name: string;
  key: VerifierKey;
}

export interface Group {
  name: string;
  threshold: number;
  members: (Witness | Group)[];
}

/** A policy that has been read and found free of faults. */
export interface Policy {
  logs: VerifierKey[];
  witnesses: Witness[];
  quorum: Quorum;
  /** Witnesses and groups by name. */
  names: ReadonlyMap<string, Witness | Group>;
}

/** The group whose cosignatures say that every entry was appraised again, unless the reader names another. */
export const AUDITORS = "auditors";

class Reader {
  readonly logs: VerifierKey[] = [];
  readonly witnesses: Witness[] = [];
  readonly names = new Map<string, Witness | Group>();
  readonly members = new Set<string>();
  readonly keys = new Set<string>();
  readonly ids = new Set<string>();
  quorum: Quorum | undefined;
  groups = 0;
  line = 0;

  fail(rule: string, detail: string): never {
    refuse(STEP, `line ${this.line}: ${detail}`, rule);
  }

  read(text: string): void {
    for (const line of text.split("\n")) {
      this.line++;
      this.octets(line);
      const words = line.replaceAll("\t", " ").split(" ").filter((w) => w !== "");
      if (words.length > 0 && !(words[0] as string).startsWith("#")) this.statement(words);
    }
  }

  octets(line: string): void {
    for (let i = 0; i < line.length; i++) {
      const o = line.charCodeAt(i);
      if ((o < 0x20 && o !== 0x09) || o === 0x7f) this.fail("byte", `byte 0x${o.toString(16).padStart(2, "0")}`);
    }
  }

  statement(words: string[]): void {
    const [keyword, ...rest] = words;
    if (keyword === "log") this.log(rest);
    else if (keyword === "witness") this.witness(rest);
    else if (keyword === "group") this.group(rest);
    else if (keyword === "quorum") this.quorumLine(rest);
    else this.fail("keyword", `unknown keyword ${shown(keyword ?? "")}`);
  }

  words(words: string[], least: number, most: number, form: string): void {
    if (words.length < least || words.length > most) this.fail("words", `want: ${form}`);
  }

  lines(so: number): void {
    if (so === MAX_LINES) this.fail("lines", `over ${MAX_LINES} lines of a kind`);
  }

  /** Keys are duplicates if they are one public key among logs or among witnesses. */
  key(role: string, text: string, ...types: number[]): VerifierKey {
    const key = parseVerifierKey(text);
    if ("wrong" in key) return this.fail(key.rule, `key: ${key.wrong}`);
    if (!types.includes(key.type)) this.fail("key-type", `key of type 0x0${key.type}`);
    const octets = `${role} ${toHex(key.key)}`;
    if (this.keys.has(octets)) this.fail("key-repeated", "an earlier line has the same key");
    if (this.ids.has(`${key.id} ${key.name}`)) this.fail("key-repeated", "an earlier line has a key of this name and id");
    this.keys.add(octets);
    this.ids.add(`${key.id} ${key.name}`);
    return key;
  }

  url(url: string | undefined): void {
    if (url === undefined) return;
    if (!url.startsWith("https://") && !url.startsWith("http://")) this.fail("url", `URL ${shown(url)}`);
  }

  log(words: string[]): void {
    this.words(words, 1, 2, "log <vkey> [<url>]");
    this.lines(this.logs.length);
    this.logs.push(this.key("log", words[0] as string, ED25519, MLDSA44));
    this.url(words[1]);
  }

  witness(words: string[]): void {
    this.words(words, 2, 3, "witness <name> <vkey> [<url>]");
    this.lines(this.witnesses.length);
    const name = words[0] as string;
    this.fresh(name);
    const witness = { name, key: this.key("witness", words[1] as string, COSIGNATURE, MLDSA44) };
    this.url(words[2]);
    this.names.set(name, witness);
    this.witnesses.push(witness);
  }

  /** Refuses a name that is taken. */
  fresh(name: string): void {
    if (name === "none") this.fail("name", "the name none is predefined");
    if (this.names.has(name)) this.fail("name", `an earlier line defines ${shown(name)}`);
  }

  defined(name: string): Witness | Group {
    return this.names.get(name) ?? this.fail("undefined", `no earlier line defines ${shown(name)}`);
  }

  group(words: string[]): void {
    this.words(words, 3, Infinity, "group <name> all|any|<k> <name>...");
    this.lines(this.groups);
    this.groups++;
    const [name, k, ...names] = words as [string, string, ...string[]];
    this.fresh(name);
    const threshold = this.threshold(k, names.length);
    const members = names.map((n) => {
      const member = this.defined(n);
      if (this.members.has(n)) this.fail("member-repeated", `${shown(n)} is a member already`);
      this.members.add(n);
      return member;
    });
    this.names.set(name, { name, threshold, members });
  }

  threshold(k: string, n: number): number {
    if (k === "any") return 1;
    if (k === "all") return n;
    const value = Number(k);
    if (String(value) !== k || value < 1 || value > n) this.fail("threshold", `threshold ${shown(k)} of ${n} members`);
    return value;
  }

  quorumLine(words: string[]): void {
    this.words(words, 1, 1, "quorum <name>");
    if (this.quorum) this.fail("second-quorum", "a second quorum line");
    this.quorum = words[0] === "none" ? "none" : this.defined(words[0] as string);
  }
}

const PARSED = new WeakSet<Policy>();

/** Refuses what parsePolicy did not make: nobody else holds a policy to its rules. */
export function demandPolicy(p: Policy): void {
  if (typeof p !== "object" || p === null || !PARSED.has(p)) refuse(STEP, "no policy of parsePolicy: nothing can be accepted");
}

/** Reads a tlog-policy, strictly. */
export function parsePolicy(file: Uint8Array | string): Policy {
  const octets = typeof file === "string" ? new TextEncoder().encode(file) : file;
  if (!(octets instanceof Uint8Array)) refuse(STEP, "want a policy as text or octets");
  if (octets.length > MAX_TLOG_POLICY) refuse(STEP, `${octets.length} bytes: want at most ${MAX_TLOG_POLICY}`, "size");
  const r = new Reader();
  r.read(latin1(octets));
  if (!r.quorum) return refuse(STEP, "no quorum line", "no-quorum");
  if (r.logs.length === 0) refuse(STEP, "no log line", "no-log");
  const policy = Object.freeze({ logs: r.logs, witnesses: r.witnesses, quorum: r.quorum, names: r.names });
  PARSED.add(policy);
  return policy;
}

/**
 * The rank-th best of what is known of the members of a quorum, by depth: with times of witnesses
 * this is the time at which the quorum was met. undefined: it is not met.
 */
export function met(q: Quorum, of: (w: Witness) => bigint | undefined, better: (a: bigint, b: bigint) => boolean): bigint | undefined {
  if (q === "none") return undefined;
  if ("key" in q) return of(q);
  const known = q.members.map((m) => met(m, of, better)).filter((t) => t !== undefined);
  known.sort((a, b) => (a === b ? 0 : better(a, b) ? -1 : 1));
  return known[q.threshold - 1];
}
