/**
 * Octets, and text as octets: every character of a string of this module is one octet (latin-1),
 * so that no two encodings of a text are ever taken for one.
 */
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { refuse } from "./errors.js";

const CHUNK = 8192;

const UTF8 = new TextDecoder();
const TO_UTF8 = new TextEncoder();

function isASCII(octets: Uint8Array): boolean {
  for (let i = 0; i < octets.length; i++) if ((octets[i] as number) > 0x7f) return false;
  return true;
}

/** The octets as a string of as many characters. */
export function latin1(octets: Uint8Array): string {
  if (octets.length > 100 && isASCII(octets)) return UTF8.decode(octets);
  let s = "";
  for (let i = 0; i < octets.length; i += CHUNK) {
    s += String.fromCharCode.apply(null, octets.subarray(i, i + CHUNK) as unknown as number[]);
  }
  return s;
}

/** The octets of a string of characters below 256. */
export function octetsOf(text: string): Uint8Array {
  if (text.length > 100) {
    const ascii = TO_UTF8.encode(text);
    if (ascii.length === text.length) return ascii;
  }
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** What a person sees of a string of octets. */
export function shown(text: string): string {
  return new TextDecoder().decode(octetsOf(text));
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  let n = 0;
  for (const p of parts) n += p.length;
  const out = new Uint8Array(n);
  n = 0;
  for (const p of parts) {
    out.set(p, n);
    n += p.length;
  }
  return out;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function sha256(...parts: Uint8Array[]): Uint8Array {
  const h = nobleSha256.create();
  for (const p of parts) h.update(p);
  return h.digest();
}

/** A file's digest as formats write it: lower-case hexadecimal of SHA-256. */
export function digest(octets: Uint8Array): string {
  return toHex(sha256(octets));
}

/** n as 8 octets, big-endian. */
export function uint64(n: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, n);
  return out;
}

const HEX = "0123456789abcdef";

export function toHex(octets: Uint8Array): string {
  let s = "";
  for (const o of octets) s += HEX.charAt(o >> 4) + HEX.charAt(o & 15);
  return s;
}

/** Whether text is lower-case hexadecimal of whole octets. */
export function isHex(text: string): boolean {
  if (text.length % 2 !== 0) return false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (!((c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x66))) return false;
  }
  return true;
}

export function fromHex(text: string): Uint8Array {
  if (!isHex(text)) refuse("format", "not lower-case hexadecimal");
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) {
    out[i] = HEX.indexOf(text.charAt(2 * i)) * 16 + HEX.indexOf(text.charAt(2 * i + 1));
  }
  return out;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

function table(alphabet: string): Int16Array {
  const t = new Int16Array(256).fill(-1);
  for (let i = 0; i < alphabet.length; i++) t[alphabet.charCodeAt(i)] = i;
  return t;
}

const STANDARD = table(BASE64 + "+/");
const URL_SAFE = table(BASE64 + "-_");

/** RFC 4648 section 4, with padding and without spare bits. */
export function fromBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0) refuse("format", "base64 without its padding");
  return decode(text, unpadded(text), STANDARD);
}

/** RFC 4648 section 5, without padding and without spare bits. */
export function fromBase64url(text: string): Uint8Array {
  return decode(text, text.length, URL_SAFE);
}

/** fromBase64, but the last letter's spare bits may be anything, as signed notes let them be. */
export function fromLaxBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0) refuse("format", "base64 without its padding");
  return decode(text, unpadded(text), STANDARD, true);
}

function unpadded(text: string): number {
  let end = text.length;
  while (end > text.length - 2 && end > 0 && text.charAt(end - 1) === "=") end--;
  return end;
}

function decode(text: string, end: number, values: Int16Array, lax = false): Uint8Array {
  if (end % 4 === 1) refuse("format", "base64 of no whole number of octets");
  const out = new Uint8Array(Math.floor((end * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < end; i++) {
    const value = values[text.charCodeAt(i)] ?? -1;
    if (value < 0) refuse("format", `character ${i} is not of base64`);
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (held >> bits) & 255;
    }
  }
  if (!lax && (held & ((1 << bits) - 1)) !== 0) refuse("format", "base64 with bits to spare");
  return out;
}
