/** RFC 6962 section 2.1: hashes of leaves and nodes, and proofs of inclusion. */
import { equal, sha256 } from "./bytes.js";
import { refuse } from "./errors.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export function leafHash(leaf: Uint8Array): Uint8Array {
  return sha256(LEAF, leaf);
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(NODE, left, right);
}

/** Whether hashes lead from leaf number index to the root of a tree of this size. */
export function includes(leaf: Uint8Array, index: bigint, size: bigint, hashes: Uint8Array[], root: Uint8Array): boolean {
  if (index >= size) return false;
  let at = index;
  let last = size - 1n;
  let hash = leaf;
  for (const h of hashes) {
    if (last === 0n) return false;
    if ((at & 1n) === 1n || at === last) {
      hash = nodeHash(h, hash);
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = nodeHash(hash, h);
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(hash, root);
}

/** RFC 6962 section 2.1.4: whether hashes show that a tree of size m is the beginning of one of size n. */
export function consistent(m: bigint, first: Uint8Array, n: bigint, second: Uint8Array, hashes: Uint8Array[]): boolean {
  if (m > n || hashes.some((h) => h.length !== 32)) return false;
  if (m === n) return hashes.length === 0 && equal(first, second);
  if (m === 0n) return hashes.length === 0 && equal(first, sha256());
  let at = m - 1n;
  let last = n - 1n;
  while ((at & 1n) === 1n) {
    at >>= 1n;
    last >>= 1n;
  }
  // A tree of 2ᵏ leaves is itself the first node, and is not repeated.
  const rest = at === 0n ? hashes : hashes.slice(1);
  let old = at === 0n ? first : hashes[0];
  if (!old) return false;
  let grown = old;
  for (const h of rest) {
    if (last === 0n) return false;
    if ((at & 1n) === 1n || at === last) {
      old = nodeHash(h, old);
      grown = nodeHash(h, grown);
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      grown = nodeHash(grown, h);
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(old, first) && equal(grown, second);
}

/** The greatest power of two below n. */
export function splitPoint(n: bigint): bigint {
  return 1n << BigInt((n - 1n).toString(2).length - 1);
}

/** A leaf of a tree, for a proof that is of several at once. */
export interface Leaf {
  number: bigint;
  hash: Uint8Array;
}

/**
 * The root of a tree of this size, from leaves in ascending order and the hashes of the greatest
 * subtrees that hold none of them, from left to right. Its time is linear in leaves and hashes.
 */
export function rootOf(leaves: Leaf[], size: bigint, hashes: Uint8Array[], step: string): Uint8Array {
  let used = 0;
  const root = (from: number, to: number, start: bigint, end: bigint): Uint8Array => {
    if (from === to) return hashes[used++] ?? refuse(step, "too few hashes");
    if (end - start === 1n) return (leaves[from] as Leaf).hash;
    const middle = start + splitPoint(end - start);
    let parted = from;
    let above = to;
    while (parted < above) {
      const half = (parted + above) >> 1;
      if ((leaves[half] as Leaf).number < middle) parted = half + 1;
      else above = half;
    }
    const left = root(from, parted, start, middle);
    return nodeHash(left, root(parted, to, middle, end));
  };
  if ((leaves.at(-1)?.number ?? size) >= size) refuse(step, "an entry beyond the tree");
  const out = root(0, leaves.length, 0n, size);
  if (used !== hashes.length) refuse(step, "too many hashes");
  return out;
}
