/** docs/format.md section 14: a log signed two histories. */
import { equal, fromHex, octetsOf, sha256, shown } from "./bytes.js";
import { base64url, constant, hex, list, object, optional, parse, text, type Of } from "./encoding.js";
import { refuse } from "./errors.js";
import { MAX_CHECKPOINT, MAX_SPLIT_VIEW } from "./limits.js";
import { nodeHash, splitPoint } from "./merkle.js";
import { openCheckpoint, type Opened } from "./note.js";
import { Steps, Stop, type Step } from "./steps.js";
import { demandPolicy, type Policy } from "./tlogpolicy.js";

/** Of the greatest complete subtrees over a range of leaves. */
const nodes = list(hex(32), 1, 126);

const splitView = object({
  v: constant(1),
  origin: text(1, 128),
  a: base64url(MAX_CHECKPOINT),
  b: base64url(MAX_CHECKPOINT),
  left: optional(nodes),
  right: optional(nodes),
});

export type SplitView = Of<typeof splitView>;

export function parseSplitView(file: Uint8Array): SplitView {
  return parse(file, MAX_SPLIT_VIEW, splitView);
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
  const steps = new Steps("format", "checkpoint", "consistency");
  let origin: string | undefined;
  try {
    const v = steps.run("format", () => parseSplitView(file), (v) => v.origin);
    const [a, b] = steps.run("checkpoint", () => both(v, policy), () => "the log signed both");
    steps.run("consistency", () => contradict(v, a, b), () => `size ${a.size} is no beginning of size ${b.size}`);
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
  if (equal(prefix(v, a, b), a.root)) refuse("consistency", "both are of one history");
}

/** The root that the first leaves of b's tree have, as many as a's. */
function prefix(v: SplitView, a: Opened, b: Opened): Uint8Array {
  if (a.size === b.size && !v.left && !v.right) return b.root;
  if (a.size > b.size || b.size === 0n) refuse("consistency", "the larger checkpoint comes first");
  const left = (v.left ?? []).map(fromHex);
  const tree = new Tree(left, (v.right ?? []).map(fromHex), a.size);
  const root = tree.root(0n, b.size);
  if (!tree.used) refuse("consistency", "too many nodes");
  if (!equal(root, b.root)) refuse("consistency", "the nodes do not hash to the root of b");
  return foldLeft(left);
}

/** The greatest complete subtrees of a tree over the leaves before and after a size, from left to right. */
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
    const middle = start + splitPoint(end - start);
    const complete = end - start === 1n || end - middle === middle - start;
    if (complete && end <= this.at) return this.left[this.#l++] ?? missing();
    if (complete && start >= this.at) return this.right[this.#r++] ?? missing();
    const l = this.root(start, middle);
    return nodeHash(l, this.root(middle, end));
  }

  get used(): boolean {
    return this.#l === this.left.length && this.#r === this.right.length;
  }
}

function missing(): never {
  refuse("consistency", "too few nodes");
}

function foldLeft(nodes: Uint8Array[]): Uint8Array {
  if (nodes.length === 0) return sha256(octetsOf(""));
  return nodes.reduceRight((right, left) => nodeHash(left, right));
}
