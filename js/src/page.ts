/**
 * The verifier of a monitor's or log's page: what is dropped, chosen or linked is checked here, under the policy
 * that stands in the page, and nothing leaves it.
 */
import {
  checkContradiction, checkDossier, checkIndexWrong, checkReceipt, checkSplitView, parsePolicy, PoclogError, type Step,
} from "./index.js";

/** A file is at most this large: a dossier's limit is below it. */
const MOST = 64 * 1024 * 1024;

interface Shown {
  outcome: string;
  /** Of a receipt. */
  origin?: string | undefined;
  index?: bigint | undefined;
  steps: Step[];
  absent?: string[];
}

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

/** Checks a file of any kind that there is. */
function check(file: Uint8Array, policyText: string, realm: string, level: string): [kind: string, shown: Shown] {
  const policy = parsePolicy(new TextEncoder().encode(policyText));
  const now = new Date();
  const asked = realm === "lab" ? { realm: "lab" as const } : {};
  const head = String.fromCharCode(...file.subarray(0, 21));
  if (!head.startsWith('{"v":1,')) return ["receipt", checkReceipt(file, policy, { now, ...asked, level: level === "0" ? 0 : 2 })];
  if (head.startsWith('{"v":1,"rule":"index')) return ["wrong index", checkIndexWrong(file, policy)];
  if (head.startsWith('{"v":1,"rule":')) return ["contradiction", checkContradiction(file, policy, asked)];
  if (head.startsWith('{"v":1,"index":')) return ["dossier", checkDossier(file, policy, { now, ...asked })];
  return ["split view", checkSplitView(file, policy)];
}

/** The first word of a verdict. */
function word(outcome: string): "PASS" | "FAIL" | "UNDECIDED" {
  if (outcome === "refused") return "FAIL";
  return outcome === "undecided" ? "UNDECIDED" : "PASS";
}

function line(into: HTMLElement, tag: string, text: string, kind = ""): HTMLElement {
  const e = document.createElement(tag);
  e.textContent = text;
  if (kind) e.className = kind;
  into.append(e);
  return e;
}

function show(name: string, kind: string, v: Shown): void {
  const out = element("outcome");
  out.replaceChildren();
  const first = word(v.outcome);
  line(out, "h2", `${first}: ${name} is a ${kind}, ${v.outcome}`, first === "PASS" ? "good" : "bad");
  const list = line(out, "ol", "", "steps");
  for (const s of v.steps) {
    const item = line(list, "li", "", s.state.replace(" ", "-"));
    line(item, "strong", s.state);
    item.append(" ");
    line(item, "code", s.id);
    line(item, "span", ` ${s.detail}`);
  }
  if (v.absent?.length) line(out, "p", `The evidence does not prove: ${v.absent.join(", ")}.`);
  const pages = out.dataset["entry"];
  if (pages && first === "PASS" && v.origin !== undefined && v.index !== undefined) {
    const link = line(line(out, "p", ""), "a", `Entry ${v.index} of ${v.origin}`) as HTMLAnchorElement;
    link.href = pages.replace("{log}", encodeURIComponent(v.origin)).replace("{n}", v.index.toString());
  }
  line(out, "p", "No appraisal was repeated: what the entry says of the evidence stands on the log's word, or the auditors'.");
  document.body.dataset["outcome"] = first;
}

function refuse(name: string, why: string): void {
  const out = element("outcome");
  out.replaceChildren();
  line(out, "h2", `FAIL: ${name}`, "bad");
  line(out, "p", why);
  document.body.dataset["outcome"] = "FAIL";
}

let last: [name: string, file: Uint8Array] | undefined;
/** What this verifier said of it. */
let said: Said | undefined;

interface Said {
  outcome: string;
  /** The step that refused. */
  step: string;
}

const policyText = () => element<HTMLTextAreaElement>("policy").value;
const realm = () => element<HTMLSelectElement>("realm").value;
const level = () => element<HTMLSelectElement>("level").value;

function run(name: string, file: Uint8Array): void {
  last = [name, file];
  document.getElementById("again-outcome")?.replaceChildren();
  try {
    const [kind, v] = check(file, policyText(), realm(), level());
    said = { outcome: v.outcome, step: v.steps.find((s) => s.state === "refused")?.id ?? "" };
    show(name, kind, v);
  } catch (e) {
    if (!(e instanceof PoclogError)) throw e;
    said = { outcome: "refused", step: e.step };
    refuse(name, e.message);
  }
}

declare global {
  /** Go's wasm_exec.js. */
  var Go: new () => { importObject: WebAssembly.Imports; run(instance: WebAssembly.Instance): Promise<void> };
  var poclogRecheck: ((file: Uint8Array, policy: string, realm: string, level: string) => string) | undefined;
}

/** Loads the Go verifier, once. */
async function load(button: HTMLButtonElement): Promise<void> {
  if (globalThis.poclogRecheck) return;
  await import(button.dataset["exec"] as string);
  const response = await fetch(button.dataset["wasm"] as string, { credentials: "omit" });
  if (!response.ok || !response.body) throw new Error(`the Go verifier: status ${response.status}`);
  const code = await new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const go = new globalThis.Go();
  const { instance } = await WebAssembly.instantiate(code, go.importObject);
  void go.run(instance);
}

/** Checks the file again with the Go code, and says whether both say the same. */
async function recheck(button: HTMLButtonElement): Promise<void> {
  const out = element("again-outcome");
  out.replaceChildren();
  if (!last || !said) return void line(out, "p", "Choose a file first.");
  const [name, file] = last;
  const own = said;
  button.disabled = true;
  line(out, "p", "The Go code is being loaded.");
  try {
    await load(button);
    const v = JSON.parse(globalThis.poclogRecheck?.(file, policyText(), realm(), level()) ?? "") as { kind: string; outcome: string; step: string; detail: string };
    // The page's verifier is undecided where only an appraisal could tell.
    const same = own.outcome === "undecided" || (own.outcome === v.outcome && own.step === v.step);
    out.replaceChildren();
    line(out, "h2", `The Go code: ${word(v.outcome)}: ${name} is a ${v.kind}, ${v.outcome}`, word(v.outcome) === "PASS" ? "good" : "bad");
    line(out, "p", [v.step, v.detail].filter((s) => s !== "").join(": "));
    if (same) line(out, "p", "Both implementations say the same.");
    else line(out, "p", `The implementations DISAGREE: this page says ${own.outcome} ${own.step}. One of both has a fault: please report it, with the file.`, "bad");
    document.body.dataset["again"] = `${word(v.outcome)} ${same ? "same" : "other"}`;
  } catch (e) {
    out.replaceChildren();
    line(out, "p", `The Go code cannot be run here: ${(e as Error).message}`, "bad");
    document.body.dataset["again"] = "failed";
  } finally {
    button.disabled = false;
  }
}

async function read(file: File): Promise<void> {
  if (file.size > MOST) return refuse(file.name, `${file.size} bytes: want at most ${MOST}`);
  run(file.name, new Uint8Array(await file.arrayBuffer()));
}

/** Fetches the file that the address names: a path of this host alone. */
async function linked(path: string): Promise<void> {
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin) return refuse("the linked file", "it is on another host: download it, and choose it here");
  const response = await fetch(url, { credentials: "omit" });
  if (!response.ok) return refuse("the linked file", `${url.pathname}: status ${response.status}`);
  const file = new Uint8Array(await response.arrayBuffer());
  if (file.length > MOST) return refuse("the linked file", `${file.length} bytes: want at most ${MOST}`);
  run("the linked file", file);
}

const again = () => last && run(...last);
element("policy").addEventListener("change", again);
element("realm").addEventListener("change", again);
element("level").addEventListener("change", again);
element<HTMLInputElement>("file").addEventListener("change", (e) => {
  const chosen = (e.target as HTMLInputElement).files?.[0];
  if (chosen) void read(chosen);
});
document.addEventListener("dragover", (e) => e.preventDefault());
document.addEventListener("drop", (e) => {
  e.preventDefault();
  const dropped = e.dataTransfer?.files[0];
  if (dropped) void read(dropped);
});
const button = document.getElementById("again") as HTMLButtonElement | null;
button?.addEventListener("click", () => void recheck(button));
const asked = new URLSearchParams(location.search);
if (asked.get("level") === "0") element<HTMLSelectElement>("level").value = "0";
const path = asked.get("file");
if (path) linked(path).catch((e: Error) => refuse("the linked file", e.message));
document.body.dataset["ready"] = "yes";
