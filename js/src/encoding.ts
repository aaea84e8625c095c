/**
 * docs/format.md section 1: canonical JSON, read in one pass.
 *
 * A codec knows the one form that a value has, so whatever it accepts, encoding it again would give
 * the same bytes: there is nothing to compare afterwards.
 */
import { fromBase64, fromBase64url, isHex, latin1 } from "./bytes.js";
import { PoclogError, refuse } from "./errors.js";

/** Whether characters from start to end are printable ASCII of which none is escaped. */
function isPlain(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x5c) return false;
  }
  return true;
}

/** Where a reader stands in a file. */
export class Cursor {
  #at = 0;
  #depth = 0;

  constructor(
    private readonly text: string,
    private readonly indented = false,
  ) {}

  /** Nothing stands between what is read. */
  get plain(): boolean {
    return !this.indented;
  }

  fail(detail: string): never {
    refuse("format", `byte ${this.#at}: ${detail}`);
  }

  /** Consumes what if it comes next. */
  skip(what: string): boolean {
    if (!this.text.startsWith(what, this.#at)) return false;
    this.#at += what.length;
    return true;
  }

  /** Whether what comes next. */
  ahead(what: string): boolean {
    return this.text.startsWith(what, this.#at);
  }

  /** All that stands before what was just read. */
  before(what: string): string {
    return this.text.slice(0, this.#at - what.length);
  }

  expect(what: string): void {
    if (!this.skip(what)) this.fail(`want ${JSON.stringify(what)}`);
  }

  /** Enters an object or a list. */
  open(bracket: string): void {
    this.expect(bracket);
    this.#depth++;
  }

  close(bracket: string): void {
    this.#depth--;
    this.expect(this.#newline() + bracket);
  }

  /** What stands before the next member or item. */
  separator(first: boolean): string {
    return (first ? "" : ",") + this.#newline();
  }

  /** Consumes the separator and the name of a member, if this member comes next. */
  member(name: string, first: boolean): boolean {
    return this.skip(`${this.separator(first)}"${name}":${this.indented ? " " : ""}`);
  }

  #newline(): string {
    return this.indented ? "\n" + "  ".repeat(this.#depth) : "";
  }

  /** An object as it stands, of at most limit characters: its brackets pair outside of strings. What is in it is not looked at. */
  raw(limit: number): string {
    const start = this.#at;
    if (!this.ahead("{")) this.fail("want an object");
    let depth = 0;
    let quoted = false;
    do {
      if (this.#at - start >= limit) this.fail(`an object of over ${limit} characters`);
      if (this.#at >= this.text.length) this.fail("an object without an end");
      const c = this.text.charCodeAt(this.#at++);
      if (c === 0x22) quoted = !quoted;
      else if (quoted) this.#at += c === 0x5c ? 1 : 0;
      else if (c === 0x7b || c === 0x5b) depth++;
      else if (c === 0x7d || c === 0x5d) depth--;
    } while (depth > 0);
    return this.text.slice(start, this.#at);
  }

  /** The characters up to, and without, the first that accept refuses; at most limit. */
  run(accept: (code: number) => boolean, limit: number): string {
    const start = this.#at;
    while (this.#at < this.text.length && accept(this.text.charCodeAt(this.#at))) {
      if (this.#at - start >= limit) this.fail(`over ${limit} characters`);
      this.#at++;
    }
    return this.text.slice(start, this.#at);
  }

  /** A decimal number without leading zeros, below limit. */
  decimal(limit: bigint): bigint {
    const digits = this.run((c) => c >= 0x30 && c <= 0x39, 20);
    if (digits === "" || (digits.length > 1 && digits.startsWith("0"))) this.fail("no decimal number");
    const n = BigInt(digits);
    if (n >= limit) this.fail(`${digits} is too large`);
    return n;
  }

  /** A string: printable ASCII, of which only the quotation mark and the backslash are escaped. */
  string(limit: number): string {
    this.expect('"');
    const end = this.text.indexOf('"', this.#at);
    if (end >= 0 && end - this.#at <= limit && isPlain(this.text, this.#at, end)) {
      const s = this.text.slice(this.#at, end);
      this.#at = end + 1;
      return s;
    }
    let out = "";
    for (;;) {
      out += this.run((c) => c >= 0x20 && c <= 0x7e && c !== 0x22 && c !== 0x5c, limit);
      if (out.length > limit) this.fail(`a string of over ${limit} characters`);
      if (this.skip('"')) return out;
      this.expect("\\");
      if (this.skip('"')) out += '"';
      else if (this.skip("\\")) out += "\\";
      else this.fail("an escape that is none");
    }
  }

  end(): void {
    if (this.#at !== this.text.length) this.fail("bytes after the end");
  }
}

/** Reads the one form of a T. */
export type Codec<T> = (c: Cursor) => T;

/** A member that may be left out. */
export interface Optional<T> {
  optional: Codec<T>;
}

export function optional<T>(codec: Codec<T>): Optional<T> {
  return { optional: codec };
}

type Member = Codec<unknown> | Optional<unknown>;
type Read<M> = M extends Codec<infer T> ? T : never;
type Maybe<M> = M extends Optional<infer T> ? T : never;
type Flat<T> = { [K in keyof T]: T[K] };

/** What an object of these members is read as. */
export type Members<S extends Record<string, Member>> = Flat<
  { [K in keyof S as S[K] extends Optional<unknown> ? never : K]: Read<S[K]> } & {
    [K in keyof S as S[K] extends Optional<unknown> ? K : never]?: Maybe<S[K]>;
  }
>;

/** What a codec reads. */
export type Of<C> = C extends Codec<infer T> ? T : never;

/** An object: its members in this order, and no others. */
export function object<S extends Record<string, Member>>(shape: S): Codec<Members<S>> {
  const members = Object.entries(shape).map(([name, codec]) => ({ name, codec, first: `"${name}":`, next: `,"${name}":` }));
  return (c) => {
    const out: Record<string, unknown> = {};
    let first = true;
    c.open("{");
    for (const m of members) {
      const { name, codec } = m;
      if (c.plain ? c.skip(first ? m.first : m.next) : c.member(name, first)) {
        out[name] = typeof codec === "function" ? codec(c) : codec.optional(c);
        first = false;
      } else if (typeof codec === "function") {
        c.fail(`want member ${name}`);
      }
    }
    if (first) c.fail("an object without members");
    c.close("}");
    return out as Members<S>;
  };
}

/** A list of least to most items. */
export function list<T>(item: Codec<T>, least: number, most: number): Codec<T[]> {
  return (c) => {
    const out: T[] = [];
    if (least === 0 && c.skip("[]")) return out;
    c.open("[");
    c.expect(c.separator(true));
    while (out.length === 0 || c.skip(c.separator(false))) {
      if (out.length === most) c.fail(`over ${most} items`);
      out.push(item(c));
    }
    if (out.length < least) c.fail(`want ${least} items`);
    c.close("]");
    return out;
  };
}

/** A list in ascending order of what key gives, without repeats. */
export function ascending<T>(codec: Codec<T[]>, key: (item: T) => string): Codec<T[]> {
  return (c) => {
    const items = codec(c);
    for (let i = 1; i < items.length; i++) {
      if (key(items[i - 1] as T) >= key(items[i] as T)) c.fail("a list out of order");
    }
    return items;
  };
}

/** One number, as JSON. */
export function constant<N extends number>(n: N): Codec<N> {
  return (c) => {
    if (c.decimal(1n << 32n) !== BigInt(n)) c.fail(`want ${n}`);
    return n;
  };
}

/** A number of least to most, both below 2³². */
export function number(least = 0, most = 0xffffffff): Codec<number> {
  return (c) => {
    const n = Number(c.decimal(1n << 32n));
    if (n < least || n > most) c.fail(`${n}: want ${least} to ${most}`);
    return n;
  };
}

/** An integer below 2⁶⁴, as a decimal string. */
export const uint64string: Codec<bigint> = (c) => {
  c.expect('"');
  const n = c.decimal(1n << 64n);
  c.expect('"');
  return n;
};

export const boolean: Codec<boolean> = (c) => {
  if (c.skip("true")) return true;
  c.expect("false");
  return false;
};

/** Printable ASCII of least to most characters. */
export function text(least: number, most: number): Codec<string> {
  return (c) => {
    const s = c.string(most);
    if (s.length < least) c.fail(`a string of under ${least} characters`);
    return s;
  };
}

/** One of these strings. */
export function oneOf<S extends string>(...values: S[]): Codec<S> {
  return (c) => {
    const s = c.string(64);
    const v = values.find((v) => v === s);
    if (v === undefined) return c.fail(`${JSON.stringify(s)} is none of ${values.join(", ")}`);
    return v;
  };
}

/** A string that a function accepts, by refusing what is wrong with it. */
export function checked(codec: Codec<string>, check: (s: string) => boolean, what: string): Codec<string> {
  return (c) => {
    const s = codec(c);
    if (!check(s)) c.fail(`${JSON.stringify(s)} is no ${what}`);
    return s;
  };
}

/** Octets in lower-case hexadecimal, of these lengths. */
export function hex(...lengths: number[]): Codec<string> {
  const most = 2 * Math.max(...lengths);
  return (c) => {
    const s = c.string(most);
    if (!isHex(s) || !lengths.includes(s.length / 2)) c.fail("not hexadecimal of the right length");
    return s;
  };
}

/** At least one octet, and at most so many, in lower-case hexadecimal. */
export function hexUpTo(most: number): Codec<string> {
  return checked(text(2, 2 * most), isHex, "hexadecimal");
}

/** Octets in hexadecimal that are not all zero. */
export function hexNotZero(...lengths: number[]): Codec<string> {
  return checked(hex(...lengths), (s) => !allZero(s), "octets: all are zero");
}

export function allZero(s: string): boolean {
  for (let i = 0; i < s.length; i++) if (s.charAt(i) !== "0") return false;
  return true;
}

/** Octets in base64url, at most this many and at least one. */
export function base64url(most: number, least = 1): Codec<Uint8Array> {
  return octets(most, least, fromBase64url);
}

/** Octets in base64 with padding. */
export function base64(most: number, least = 1): Codec<Uint8Array> {
  return octets(most, least, fromBase64);
}

function octets(most: number, least: number, decode: (s: string) => Uint8Array): Codec<Uint8Array> {
  return (c) => {
    const s = c.string(Math.ceil(most / 3) * 4);
    let out: Uint8Array;
    try {
      out = decode(s);
    } catch (e) {
      if (e instanceof PoclogError) c.fail(e.detail);
      throw e;
    }
    if (out.length > most || out.length < least) c.fail(`${out.length} octets: want ${least} to ${most}`);
    return out;
  };
}

/** A time, in seconds since 1970. */
export const time: Codec<number> = (c) => {
  const t = parseTime(c.string(20));
  if (t === undefined) return c.fail("no time in UTC with whole seconds");
  return t;
};

/** d is a digit. */
const FORM = "dddd-dd-ddTdd:dd:ddZ";
const DIGIT = FORM.charCodeAt(0);
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Seconds since 1970 of an RFC 3339 time in UTC with whole seconds, of the years 1970 to 9999, or undefined. */
export function parseTime(s: string): number | undefined {
  if (s.length !== 20) return undefined;
  for (let i = 0; i < 20; i++) {
    const want = FORM.charCodeAt(i);
    const got = s.charCodeAt(i);
    if (want === DIGIT ? got < 0x30 || got > 0x39 : got !== want) return undefined;
  }
  const at = (i: number) => s.charCodeAt(i) * 10 + s.charCodeAt(i + 1) - 0x30 * 11;
  const [year, month, day] = [at(0) * 100 + at(2), at(5), at(8)];
  const [hour, minute, second] = [at(11), at(14), at(17)];
  if (year < 1970 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return undefined;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  if (day > (DAYS[month - 1] as number) + (leap && month === 2 ? 1 : 0)) return undefined;
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
}

/** RFC 3339 of seconds since 1970, of the years 0 to 9999. */
export function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19) + "Z";
}

/** Reads a whole file of at most so many bytes. */
export function parse<T>(octets: Uint8Array, most: number, codec: Codec<T>): T {
  if (!(octets instanceof Uint8Array)) refuse("format", "want a Uint8Array");
  if (octets.length > most) refuse("format", `${octets.length} bytes: want at most ${most}`);
  return read(latin1(octets), codec);
}

/** Reads a whole file of which each character is an octet. */
export function read<T>(text: string, codec: Codec<T>): T {
  const c = new Cursor(text);
  const out = codec(c);
  c.end();
  return out;
}

/** Reads a whole file that people edit: two spaces of indentation and a final newline. */
export function parseIndented<T>(octets: Uint8Array, most: number, codec: Codec<T>): T {
  if (!(octets instanceof Uint8Array)) refuse("format", "want a Uint8Array");
  if (octets.length > most) refuse("format", `${octets.length} bytes: want at most ${most}`);
  const c = new Cursor(latin1(octets), true);
  const out = codec(c);
  c.expect("\n");
  c.end();
  return out;
}
