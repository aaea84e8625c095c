/** docs/format.md section 16: what a log's index says of a name. */
import { digest, equal, fromHex, isHex, latin1, octetsOf, sha256, toHex, uint64 } from "./bytes.js";
import type { Entry, Proof } from "./entry.js";
import { refuse } from "./errors.js";
import { isIdentity } from "./identities.js";
import type { Statement } from "./statement.js";

/** The algorithm of index that this module knows. */
export const ALGORITHM = 1;

const STEP = "map";
export const MAX_NAME = 176;
const UNPROVEN = "unproven:";
const PUBLISHER = "publisher:";
const CONFIG = "config";
export const STATEMENTS = "statements:";
const REGISTRAR = "registrar:";

/** The identities of a proof's machine, whatever its level. */
export function machineOf(e: Proof): string[] {
  return [...(e.chassis ?? []), ...(e.keys ?? []), ...(e.instance === undefined ? [] : [e.instance])];
}

/** The names of an entry's identities: what a dossier has to cover before it clears a receipt. */
export function identityNames(e: Entry): string[] {
  if (e.kind !== "proof") return [];
  return e.level === 2 ? machineOf(e) : machineOf(e).map((id) => UNPROVEN + id);
}

/** The name under which a log lists what a registrar states. */
export function registrarName(name: string): string {
  return REGISTRAR + digest(octetsOf(name));
}

/** All names that an entry states. */
export function namesOf(e: Entry): string[] {
  if (e.kind === "config") return [CONFIG];
  if (e.kind === "statement") return statedNames(e.envelope.statement);
  const publishers = e.kind === "proof" ? (e.publishers ?? []).map((d) => PUBLISHER + d) : [];
  return [...identityNames(e), ...publishers];
}

function statedNames(s: Statement): string[] {
  const by = registrarName(s.registrar);
  return s.type === "commit" ? [by] : [STATEMENTS + s.subject, by];
}

/** Whether an entry could state a name. */
export function isName(name: string): boolean {
  if (name === CONFIG) return true;
  for (const p of [PUBLISHER, REGISTRAR]) if (name.startsWith(p)) return name.length === p.length + 64 && isHex(name.slice(p.length));
  const prefix = [UNPROVEN, STATEMENTS].find((p) => name.startsWith(p)) ?? "";
  const id = name.slice(prefix.length);
  return isIdentity(id) && !id.startsWith("quote:");
}

/** Whether a dossier lists all entries of a name, from the first. */
function isWhole(name: string): boolean {
  return name === CONFIG || name.startsWith(STATEMENTS) || name.startsWith(REGISTRAR);
}

const VALUE = octetsOf("poclog/index/number/v1\n");
const KEY = octetsOf("poclog/index/name/v1\n");

/** The value of a name whose numbers follow those that gave before; without before they are all. */
export function valueOf(numbers: bigint[], before?: Uint8Array): Uint8Array {
  let value = before ?? new Uint8Array(32);
  for (const n of numbers) value = sha256(VALUE, value, uint64(n));
  return value;
}

const HEADER = "mptproof";
const STEP_LENGTH = 33;

/** What a map of this root says of a name, by its proof: its value, or undefined where it is absent. */
export function lookUp(name: string, proof: Uint8Array, root: Uint8Array): Uint8Array | undefined {
  if (!isName(name)) refuse(STEP, `${JSON.stringify(name)} is no name that an entry could state`);
  if (latin1(proof.subarray(0, HEADER.length)) !== HEADER) refuse(STEP, "no map proof");
  const kind = proof[HEADER.length];
  const rest = proof.subarray(HEADER.length + 1);
  const own = sha256(KEY, octetsOf(name));
  if (kind === 0) return empty(rest, root);
  if (kind === 1) {
    const value = rest.subarray(0, 32);
    leads(own, own, value, rest.subarray(32), root);
    return value;
  }
  if (kind !== 2) return refuse(STEP, `a map proof of kind ${kind}`);
  const key = rest.subarray(0, 32);
  if (equal(key, own)) refuse(STEP, "the key of the name itself does not show that it is absent");
  leads(own, key, rest.subarray(32, 64), rest.subarray(64), root);
  return undefined;
}

function empty(rest: Uint8Array, root: Uint8Array): undefined {
  if (rest.length > 0) refuse(STEP, "surplus octets");
  if (!equal(root, sha256())) refuse(STEP, "the map is not empty");
}

/** Refuses a path that does not lead from a leaf to the root, on which the name's own key would stand, too. */
function leads(own: Uint8Array, key: Uint8Array, value: Uint8Array, path: Uint8Array, root: Uint8Array): void {
  if (key.length !== 32 || value.length !== 32 || path.length % STEP_LENGTH !== 0) refuse(STEP, "a map proof of another length");
  let hash = sha256(key, value);
  let last = 256;
  for (let i = 0; i < path.length; i += STEP_LENGTH) {
    const bit = path[i] as number;
    const other = path.subarray(i + 1, i + STEP_LENGTH);
    if (bit >= last) refuse(STEP, "bits that do not fall");
    if (other.every((o) => o === 0)) refuse(STEP, "a hash of zeros");
    if (bitOf(own, bit) !== bitOf(key, bit)) refuse(STEP, "a path that the name's key would not take");
    const parted = bitOf(key, bit) === 0 ? [hash, other] : [other, hash];
    hash = sha256(...parted, Uint8Array.of(bit));
    last = bit;
  }
  if (!equal(hash, root)) refuse(STEP, `the proof does not lead to the root of the index, ${toHex(root)}`);
}

function bitOf(key: Uint8Array, bit: number): number {
  return ((key[bit >> 3] as number) >> (7 - (bit & 7))) & 1;
}

/** What a file says of a name, before anything is checked. */
export interface Listed {
  name: string;
  proof: Uint8Array;
  before?: string;
  numbers?: bigint[];
}

/** Checks what a file says of a name: the map proof, and that the numbers give the value, and are below a size. Gives whether it is there. */
export function checkListed(l: Listed, root: Uint8Array, step: string, size?: bigint): boolean {
  const value = lookUp(l.name, l.proof, root);
  if (!value) {
    if (l.before !== undefined || l.numbers) refuse(step, `${l.name} is absent, and has numbers`);
    return false;
  }
  if (size !== undefined && l.before !== undefined && isWhole(l.name)) refuse(step, `${l.name}: all its entries are listed, from the first`);
  if (!l.numbers) return refuse(step, `${l.name} is there, and has no numbers`);
  if (size !== undefined && (l.numbers.at(-1) as bigint) >= size) refuse(step, `${l.name}: a number beyond the index`);
  if (!equal(valueOf(l.numbers, l.before === undefined ? undefined : fromHex(l.before)), value)) {
    refuse(step, `${l.name}: the numbers do not give the value in the index`);
  }
  return true;
}
