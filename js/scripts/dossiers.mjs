// Dossiers of any number of entries, of a log that is made here: for the bench.
import { readFileSync } from "node:fs";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "../dist/bytes.js";
import { parseEntry } from "../dist/entry.js";
import { namesOf, valueOf } from "../dist/indexmap.js";
import { leafHash, nodeHash } from "../dist/merkle.js";

const ORIGIN = "log.bench/2027";
const START = 1_800_000_000;
const octets = (s) => new TextEncoder().encode(s);
const base64 = (b) => Buffer.from(b).toString("base64");
const base64url = (b) => Buffer.from(b).toString("base64url");
const hex = (b) => Buffer.from(b).toString("hex");

/** A key of a name and type (1: a log's, 4: a witness's). */
function keyOf(name, type) {
  const secret = sha256(octets(name));
  const octetsOfKey = Buffer.concat([Uint8Array.of(type), ed25519.getPublicKey(secret)]);
  const id = sha256(octets(name + "\n"), octetsOfKey).subarray(0, 4);
  const line = (signature) => `\u2014 ${name} ${base64(Buffer.concat([id, signature]))}\n`;
  return { secret, vkey: `${name}+${hex(id)}+${base64(octetsOfKey)}`, line };
}

const log = keyOf(ORIGIN, 1);
const witness = keyOf("w.bench", 4);

/** The tlog-policy of whoever reads these dossiers. */
export const policy = `log ${log.vkey}\nwitness w ${witness.vkey}\nquorum w\n`;

function checkpoint(size, root, at) {
  const text = `${ORIGIN}\n${size}\n${base64(root)}\n`;
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(at));
  const cosignature = ed25519.sign(octets(`cosignature/v1\ntime ${at}\n${text}`), witness.secret);
  return octets(text + "\n" + log.line(ed25519.sign(octets(text), log.secret)) + witness.line(Buffer.concat([time, cosignature])));
}

/** All levels of a tree's complete subtrees: of level k those of 2^k leaves. */
function levelsOf(leaves) {
  const levels = [leaves.map(leafHash)];
  while (levels.at(-1).length > 1) {
    const below = levels.at(-1);
    levels.push(Array.from({ length: below.length >> 1 }, (_, i) => nodeHash(below[2 * i], below[2 * i + 1])));
  }
  return levels;
}

/** The root of a range that is a node of the tree: it begins at a multiple of the least power of two that has it. */
function rootOf(levels, from, to) {
  const k = Math.ceil(Math.log2(to - from));
  if (to - from === 2 ** k) return levels[k][from / 2 ** k];
  const middle = from + 2 ** (k - 1);
  return nodeHash(rootOf(levels, from, middle), rootOf(levels, middle, to));
}

/** Hashes of the greatest subtrees of [from, to) that hold none of [first, last), from left to right. */
function without(levels, from, to, first, last) {
  if (to <= first || from >= last) return [rootOf(levels, from, to)];
  if (from >= first && to <= last) return [];
  const middle = from + 2 ** (Math.ceil(Math.log2(to - from)) - 1);
  return [...without(levels, from, middle, first, last), ...without(levels, middle, to, first, last)];
}

/** The leaf of a proof of one chip at one place, the i-th. */
function leafOf(sample, i) {
  const quote = hex(sha256(octets(`quote ${i}`)));
  const at = new Date((START + i) * 1000).toISOString().replace(".000", "");
  return sample.replace(/"quote":"quote:[0-9a-f]{64}"/, `"quote":"quote:${quote}"`).replace(/"appraised":"[^"]*"/, `"appraised":"${at}"`);
}

/** A dossier of a chip that n entries name, and how many bytes its leaves have. */
export function dossierOf(n) {
  const vector = JSON.parse(readFileSync(new URL("../../testdata/dossiers/honest.json", import.meta.url), "utf8"));
  const entries = JSON.parse(vector.dossier).pages.flatMap((p) => p.entries.map((e) => JSON.stringify(e.leaf)));
  const sample = entries.find((l) => l.startsWith('{"v":1,"kind":"proof"')).replace(/"fresh":\{[^}]*\}/, '"fresh":null');
  const texts = Array.from({ length: n }, (_, i) => leafOf(sample, i));
  const name = namesOf(parseEntry(octets(sample)))[0];
  const leaves = texts.map(octets);
  const levels = levelsOf(leaves);
  const named = checkpoint(n, rootOf(levels, 0, n), START + n);
  const key = sha256(octets("poclog/index/name/v1\n" + name));
  const value = valueOf(leaves.map((_, i) => BigInt(i)));
  const index = octets(`{"v":1,"kind":"index","algorithm":1,"size":"${n}","checkpoint":"${hex(sha256(named))}","root":"${hex(sha256(key, value))}"}`);
  const whole = levelsOf([...leaves, index]);
  const signed = checkpoint(n + 1, rootOf(whole, 0, n + 1), START + n + 60);
  const path = without(whole, 0, n + 1, n, n + 1).reverse();
  const receipt = `c2sp.org/tlog-proof@v1\nextra ${base64(octets(`{"v":1,"entry":"${base64url(index)}"}`))}\nindex ${n}\n${path.map((h) => base64(h) + "\n").join("")}\n${new TextDecoder().decode(signed)}`;
  const pages = [];
  for (let i = 0; i < n; i += 1000) {
    const last = Math.min(n, i + 1000);
    const listed = texts.slice(i, last).map((leaf, j) => `{"number":"${i + j}","leaf":${leaf}}`);
    pages.push(`{"entries":[${listed.join(",")}],"proof":[${without(whole, 0, n + 1, i, last).map((h) => `"${hex(h)}"`).join(",")}]}`);
  }
  const proof = base64url(Buffer.concat([octets("mptproof"), Uint8Array.of(1), value]));
  const numbers = texts.map((_, i) => `"${i}"`).join(",");
  const file = octets(
    `{"v":1,"index":"${base64url(octets(receipt))}","checkpoint":"${base64url(named)}","names":[{"name":"${name}","proof":"${proof}","numbers":[${numbers}]}],"pages":[${pages.join(",")}]}`,
  );
  return { file, leaves, now: new Date((START + n + 120) * 1000) };
}
