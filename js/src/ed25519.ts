/**
 * Ed25519 as RFC 8032 section 5.1.7 says, without the cofactor: R is computed and its bytes are
 * compared. Verifiers that multiply by the cofactor accept signatures that others refuse, and which
 * a dishonest signer can make.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { equal, latin1 } from "./bytes.js";

const Point = ed25519.Point;
const ORDER = Point.Fn.ORDER;

/** After so many signatures a table of a key's multiples pays: it takes as long as four of them, and saves three quarters of each. */
const OFTEN = 4;
const WINDOW = 5;

/** A key that signatures were verified with, for as long as somebody has it. */
interface Known {
  octets: string;
  point: Ed25519Point;
  used: number;
}

const known = new WeakMap<Uint8Array, Known>();

function pointOf(key: Uint8Array): Ed25519Point {
  const octets = latin1(key);
  let k = known.get(key);
  if (k?.octets !== octets) known.set(key, (k = { octets, point: Point.fromBytes(key, true), used: 0 }));
  if (++k.used === OFTEN) k.point.precompute(WINDOW);
  return k.point;
}

export function verifyEd25519(signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  if (signature.length !== 64 || key.length !== 32) return false;
  const s = littleEndian(signature.subarray(32));
  if (s >= ORDER) return false;
  try {
    const a = pointOf(key);
    const h = sha512.create().update(signature.subarray(0, 32)).update(key).update(message).digest();
    const k = littleEndian(h) % ORDER;
    const r = times(Point.BASE, s).subtract(times(a, k));
    return equal(r.toBytes(), signature.subarray(0, 32));
  } catch {
    return false;
  }
}

type Ed25519Point = InstanceType<typeof Point>;

function times(p: Ed25519Point, n: bigint): Ed25519Point {
  return n === 0n ? Point.ZERO : p.multiplyUnsafe(n);
}

function littleEndian(octets: Uint8Array): bigint {
  let n = 0n;
  for (let i = octets.length - 1; i >= 0; i--) n = (n << 8n) | BigInt(octets[i] as number);
  return n;
}
