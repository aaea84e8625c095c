/** docs/format.md section 10: a log signed two histories. */
import { equal, fromHex, octetsOf, sha256, shown } from "./bytes.js";
import { base64url, constant, hex, list, object, parse, text, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import { MAX_RECEIPT } from "./limits.js";
import { nodeHash } from "./merkle.js";
import { openCheckpoint, type Opened } from "./note.js";
import { Steps, Stop, type Step } from "./steps.js";
import { demandPolicy, type Policy } from "./tlogpolicy.js";

const nodes = list(hex(32), 0, 64);

const splitView = object({
  v: constant(1),
  origin: text(1, 255),
  a: base64url(MAX_RECEIPT),
  b: base64url(MAX_RECEIPT),
  left: nodes,
  right: nodes,
});

export type SplitView = Of<typeof splitView>;

export function parseSplitView(file: Uint8Array): SplitView {
  return parse(file, MAX_RECEIPT, splitView);
}

/** Whether a log of the policy signed two histories. */
export interface SplitViewVerdict {
  outcome: "refused" | "split view";
  refused: Step | undefined;
  steps: Step[];
  origin: string | undefined;
}

export function checkSplitView(file: Uint8Array, policy: Policy): SplitViewVerdict {
  demandPolicy(policy);
  const steps = new Steps("format", "checkpoint", "split-view");
  let origin: string | undefined;
  try {
    const v = steps.run("format", () => parseSplitView(file), (v) => v.origin);
    const [a, b] = steps.run("checkpoint", () => both(v, policy), () => "the log signed both");
    steps.run("split-view", () => contradict(v, a, b), () => `size ${a.size} is no beginning of size ${b.size}`);
    origin = shown(v.origin);
  } catch (e) {
    if (!(e instanceof Stop)) throw e;
  }
  return { outcome: steps.refused || !origin ? "refused" : "split view", refused: steps.refused, steps: steps.all, origin };
}

function both(v: SplitView, policy: Policy): [Opened, Opened] {
  const opened = [v.a, v.b].map((c) => openCheckpoint(c, policy, "checkpoint")) as [Opened, Opened];
  for (const c of opened) if (c.origin !== v.origin) refuse("checkpoint", "another log's checkpoint");
  return opened;
}

function contradict(v: SplitView, a: Opened, b: Opened): void {
  if (a.size > b.size) refuse("split-view", "the larger checkpoint comes first");
  const left = v.left.map(fromHex);
  const tree = new Tree(left, v.right.map(fromHex), a.size);
  const root = tree.root(0n, b.size);
  if (!tree.used) refuse("split-view", "too many nodes");
  if (!equal(root, b.root)) refuse("split-view", "the nodes do not hash to the root of b");
  if (equal(foldLeft(left), a.root)) refuse("split-view", "both are one history");
}

/** The nodes of a tree over the leaves before and after a size. */
class Tree {
  #l = 0;
  #r = 0;

  constructor(
    private readonly left: Uint8Array[],
    private readonly right: Uint8Array[],
    private readonly at: bigint,
  ) {}

  /** The hash over leaves [start, end), made of the nodes given. */
  root(start: bigint, end: bigint): Uint8Array {
    if (start === end) return sha256(octetsOf(""));
    if (end <= this.at) return this.left[this.#l++] ?? missing();
    if (start >= this.at) return this.right[this.#r++] ?? missing();
    const middle = start + split(end - start);
    const l = this.root(start, middle);
    return nodeHash(l, this.root(middle, end));
  }

  get used(): boolean {
    return this.#l === this.left.length && this.#r === this.right.length;
  }
}

function missing(): never {
  refuse("split-view", "too few nodes");
}

/** The greatest power of two below n. */
function split(n: bigint): bigint {
  let k = 1n;
  while (k * 2n < n) k *= 2n;
  return k;
}

function foldLeft(nodes: Uint8Array[]): Uint8Array {
  if (nodes.length === 0) return sha256(octetsOf(""));
  return nodes.reduceRight((right, left) => nodeHash(left, right));
}
