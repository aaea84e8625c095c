/** docs/format.md section 18: who vouches for hardware, and how many of its members must sign. */
import { digest, octetsOf } from "./bytes.js";
import { fingerprint, preAuthentication, publicKey, verifySignature, type PublicKey, type Signature } from "./dsse.js";
import { ascending, constant, list, number, object, parse, parseIndented, text, type Cursor, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import { MAX_REGISTRARS } from "./limits.js";
import type { StatementEnvelope, StatementType } from "./statement.js";

/** What a statement of each type takes. A thaw takes as many as an endorsement. */
const thresholds = object({ endorse: number(1, 16), revoke: number(1, 16), move: number(1, 16), freeze: number(1, 16), commit: number(1, 16) });

const anyRegistrar = object({ name: text(1, 128), keys: ascending(list(publicKey, 1, 64), (k) => k.text), thresholds });

type Listed = Of<typeof anyRegistrar>;

function registrar(c: Cursor): Listed {
  const r = anyRegistrar(c);
  if (Object.values(r.thresholds).some((t) => t > r.keys.length)) c.fail("a threshold over the number of keys");
  return r;
}

const MOST = 64;
const byName = (least: number) => ascending(list(registrar, least, MOST), (r) => r.name);

/** Registrars that a log lists, in its policy. */
export const registrars = byName(1);

/** A registrar as whoever lists it writes it: keys are the base64 of DER SubjectPublicKeyInfo. */
export interface Registrar {
  name: string;
  keys: string[];
  thresholds: Of<typeof thresholds>;
}

const file = object({ v: constant(1), registrars: byName(0) });

/** Reads the file in which a reader pins registrars. */
export function parseRegistrars(octets: Uint8Array): Registrars {
  return new Registrars(parseIndented(octets, MAX_REGISTRARS, file).registrars);
}

/** Registrars of a list, ascending by name. */
export function pin(listed: Registrar[]): Registrars {
  if (!Array.isArray(listed)) refuse("format", "want a list of registrars");
  return new Registrars(parse(octetsOf(JSON.stringify(listed)), MAX_REGISTRARS, byName(0)));
}

/** A signature, and why it counts for nothing. */
interface Judged extends Signature {
  wrong: string | undefined;
  /** The digest of the key that made it. */
  by: string;
}

/** Registrars that a log lists, or that a reader pins. */
export class Registrars {
  readonly #by = new Map<string, { keys: Map<string, PublicKey>; thresholds: Listed["thresholds"] }>();

  constructor(listed: Listed[]) {
    for (const { name, keys, thresholds } of listed) {
      this.#by.set(name, { keys: new Map(keys.map((k) => [fingerprint(k), k])), thresholds });
    }
  }

  get names(): string[] {
    return [...this.#by.keys()];
  }

  has(name: string): boolean {
    return this.#by.has(name);
  }

  /** How many members must sign. */
  threshold(name: string, type: StatementType): number {
    const t = this.#by.get(name)?.thresholds;
    return t ? t[type === "thaw" ? "endorse" : type] : Infinity;
  }

  /** Judges each signature of an envelope as one of a registrar's members. */
  judge(name: string, e: StatementEnvelope): Judged[] {
    const keys = this.#by.get(name)?.keys;
    const message = preAuthentication(e.payloadType, e.payload);
    const seen = new Set<string>();
    return e.signatures.map((s) => {
      const key = keys?.get(s.keyid);
      const fault = (): string | undefined => {
        if (!key) return `${name} has no member ${s.keyid}`;
        if (seen.has(s.keyid)) return `${s.keyid} signs twice`;
        return verifySignature(key, message, s.sig) ? undefined : `the signature of ${s.keyid} is wrong`;
      };
      const wrong = fault();
      if (wrong === undefined) seen.add(s.keyid);
      return { ...s, wrong, by: key ? digest(key.der) : "" };
    });
  }
}
