/**
 * What a file is, and under which address an explorer answers about it: a receipt, a quote, what a proof speaks for.
 * Nothing is verified here, and nothing of the file but the names in it is in the address.
 */
import { digest, isHex, latin1, sha256, toHex } from "./bytes.js";
import { PoclogError } from "./errors.js";
import { leafHash } from "./merkle.js";
import { parseReceipt } from "./receipt.js";

/** An address, or why there is none. */
export type LookFor = { search: string } | { verify: string } | { why: string };

const address = (names: [string, string][]): LookFor => {
  const q = new URLSearchParams(names);
  q.sort();
  return { search: q.toString() };
};

/** What is typed or short: an identity, a part of one, hexadecimal, a place. */
const NAME = /^[0-9A-Za-z:._/\u2026-]{1,200}$/;

/** Of a file's octets; of text that was typed, where line ends are not the file's. */
export function lookFor(file: Uint8Array, typed = false): LookFor {
  const head = latin1(file.subarray(0, 24));
  if (head.startsWith("c2sp.org/tlog-proof@")) return ofReceipt(file);
  if (head.startsWith('{"v":1,"rule":') || head.startsWith('{"v":1,"index":')) {
    return { verify: head.startsWith('{"v":1,"index":') ? "a dossier" : "a contradiction" };
  }
  const octets = decoded(file);
  const quote = ofQuote(octets);
  if (quote) return quote;
  const text = latin1(file).trim();
  if (NAME.test(new TextDecoder().decode(file).trim())) return address([["q", new TextDecoder().decode(file).trim()]]);
  if (text === "") return { why: "nothing is in it" };
  return address(keysOf(file, typed).map((k) => ["key", k]));
}

function ofReceipt(file: Uint8Array): LookFor {
  try {
    const r = parseReceipt(file);
    const origin = new TextDecoder().decode(r.checkpoint).split("\n")[0] ?? "";
    return address([["log", origin], ["n", r.index.toString()], ["leaf", toHex(leafHash(r.entry))]]);
  } catch (e) {
    if (e instanceof PoclogError) return { why: `it begins as a receipt and is none: ${e.message}` };
    throw e;
  }
}

/** Octets that may be written in hexadecimal or base64. */
function decoded(file: Uint8Array): Uint8Array {
  if (file.length > 1 << 20) return file;
  const text = latin1(file).replace(/[ \t\r\n]/g, "").replace(/^"|"$/g, "").replace(/^0x/, "");
  if (text.length < 16) return file;
  const lower = text.toLowerCase();
  if (isHex(lower)) return Uint8Array.from({ length: lower.length / 2 }, (_, i) => Number.parseInt(lower.slice(2 * i, 2 * i + 2), 16));
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return file;
  try {
    return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  } catch {
    return file;
  }
}

const u16 = (b: Uint8Array, at: number) => (b[at] ?? 0) | ((b[at + 1] ?? 0) << 8);
const u32 = (b: Uint8Array, at: number) => u16(b, at) + 0x10000 * u16(b, at + 2);

const TDX = 0x81;
const HEADER = 48;
const BODY = 584;
const REPORT = 0x4a0;
const REPORT_SIGNED = 0x2a0;
const CHIP_ID = 0x1a0;

function ofQuote(b: Uint8Array): LookFor | undefined {
  if (b.length > HEADER + BODY && (u16(b, 0) === 4 || u16(b, 0) === 5) && u32(b, 4) === TDX) {
    const end = u16(b, 0) === 4 ? HEADER + BODY : HEADER + 6 + u32(b, HEADER + 2);
    const ppid = end < b.length ? ppidOf(b.subarray(end)) : undefined;
    if (!ppid) return { why: "it begins as a TDX quote and has no certificate of its chip" };
    return address([["chip", `intel:tdx:ppid:${ppid}`], ["quote", digest(b.subarray(0, end))]]);
  }
  if (b.length >= REPORT && u16(b, 0) >= 2 && u16(b, 0) < 16 && u16(b, 2) === 0 && u16(b, 4) < 0x100) {
    const id = toHex(b.subarray(CHIP_ID, CHIP_ID + 64));
    const names: [string, string][] = [["quote", digest(b.subarray(0, REPORT_SIGNED))]];
    return address(/^0*$/.test(id) ? names : [["chip", `amd:chip:${id}`], ...names]);
  }
  return undefined;
}

/** SEQUENCE members of Intel's SGX extension: OID 1.2.840.113741.1.13.1.1 and 16 octets. */
const PPID = [0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, 0x01, 0x04, 0x10];

/** The PPID in the first certificate of a quote's signature data. */
function ppidOf(data: Uint8Array): string | undefined {
  const pem = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----/.exec(latin1(data))?.[1];
  if (!pem) return undefined;
  const der = decoded(new TextEncoder().encode(pem));
  for (let i = 0; i + PPID.length + 16 <= der.length; i++) {
    if (PPID.every((o, k) => der[i + k] === o)) return toHex(der.subarray(i + PPID.length, i + PPID.length + 16));
  }
  return undefined;
}

/** Digests of what a proof may speak for. A form's text has other ends of lines than the file that it was in. */
function keysOf(file: Uint8Array, typed: boolean): string[] {
  const digests = [file];
  if (typed) {
    const text = latin1(file).replace(/\r\n/g, "\n").replace(/\n+$/, "");
    digests.splice(0, 1, ...[text, `${text}\n`].map((t) => Uint8Array.from(t, (c) => c.charCodeAt(0))));
  }
  return digests.map((d) => toHex(sha256(d)));
}
