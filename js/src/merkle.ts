/** RFC 6962 section 2.1: hashes of leaves and nodes, and proofs of inclusion. */
import { equal, sha256 } from "./bytes.js";

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
