/** docs/format.md section 18: who vouches for hardware, and how many of its members must sign. */
import { octetsOf } from "./bytes.js";
import { fingerprint, preAuthentication, publicKey, verifySignature, type PublicKey, type Signature } from "./dsse.js";
import { list, number, object, parse, text, type Cursor, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import type { StatementEnvelope, StatementType } from "./statement.js";

/** What a statement of each type takes. A thaw takes as many as an endorsement. */
const thresholds = object({ endorse: number(1, 16), revoke: number(1, 16), move: number(1, 16), freeze: number(1, 16), commit: number(1, 16) });

/** A registrar as whoever lists it writes it: keys are the base64 of DER SubjectPublicKeyInfo. */
export interface Registrar {
  name: string;
  keys: string[];
  thresholds: Of<typeof thresholds>;
}

const anyRegistrar = object({ name: text(1, 128), keys: list(publicKey, 1, 256), thresholds });

function registrar(c: Cursor): Of<typeof anyRegistrar> {
  const r = anyRegistrar(c);
  if (new Set(r.keys.map((k) => k.text)).size !== r.keys.length) c.fail("a key twice");
  if (Object.values(r.thresholds).some((t) => t > r.keys.length)) c.fail("a threshold over the number of keys");
  return r;
}

/** Registrars that a log lists, or that a reader pins, by name. */
export class Registrars {
  readonly #by = new Map<string, { keys: Map<string, PublicKey>; thresholds: Of<typeof thresholds> }>();

  /** Refuses a list with anything but registrars in their one form. */
  constructor(listed: Registrar[]) {
    if (!Array.isArray(listed)) refuse("registrars", "want a list of registrars");
    for (const r of listed) {
      const { name, keys, thresholds } = parse(octetsOf(JSON.stringify(r) ?? ""), 1 << 20, registrar);
      if (this.#by.has(name)) refuse("registrars", `${name} is listed twice`);
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

  /** Of each signature whose it is, or why it counts for nothing. */
  signers(name: string, e: StatementEnvelope): (Signature & { good: boolean; wrong?: string })[] {
    const keys = this.#by.get(name)?.keys;
    const message = preAuthentication(e.payloadType, e.payload);
    const seen = new Set<string>();
    return e.signatures.map((s) => {
      const key = keys?.get(s.keyid);
      const wrong = !key ? `${name} has no member ${s.keyid}` : seen.has(s.keyid) ? `${s.keyid} signs twice` : verifySignature(key, message, s.sig) ? undefined : `the signature of ${s.keyid} is wrong`;
      if (wrong === undefined) seen.add(s.keyid);
      return wrong === undefined ? { ...s, good: true } : { ...s, good: false, wrong };
    });
  }
}
