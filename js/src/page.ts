/**
 * The verifier of a monitor's or log's page: what is dropped, chosen or linked is checked here, under the policy
 * that stands in the page, and nothing leaves it.
 */
import { digest } from "./bytes.js";
import {
  checkContradiction, checkDossier, checkIndexWrong, checkReceipt, checkSplitView, parseAppraisalPolicy, parseOpening, parsePolicy, parseRegistrars, PoclogError,
} from "./index.js";
import { wordOf, type Shown } from "./word.js";

/** A file is at most this large: a dossier's limit is below it. */
const MOST = 64 * 1024 * 1024;

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

/** What the reader goes by: as the form says, and as files say that were dropped. */
interface Asked {
  policy: string;
  realm: string;
  level: string;
  appraisals: string[];
  endorsedBy: string[];
  registrars: string;
  openings: string[];
}

const octets = (text: string) => new TextEncoder().encode(text);
const headOf = (file: Uint8Array) => String.fromCharCode(...file.subarray(0, 32));

/** Checks a file of any kind that there is; a receipt, with dossiers beside it. */
function check(file: Uint8Array, q: Asked, dossiers: Uint8Array[]): [kind: string, shown: Shown] {
  const policy = parsePolicy(octets(q.policy));
  const pinned = q.registrars === "" ? {} : { registrars: parseRegistrars(octets(q.registrars)) };
  const now = new Date();
  const asked = q.realm === "lab" ? { realm: "lab" as const } : {};
  const head = headOf(file);
  if (!head.startsWith('{"v":1,')) {
    return ["receipt", checkReceipt(file, policy, {
      now, ...asked, ...pinned, level: q.level === "0" ? 0 : 2, ...(dossiers.length > 0 ? { dossiers } : {}), ...(q.appraisals.length > 0 ? { appraisalDigest: q.appraisals } : {}),
      ...(q.endorsedBy.length > 0 ? { endorsedBy: q.endorsedBy } : {}), ...(q.openings.length > 0 ? { openings: q.openings.map((o) => parseOpening(octets(o))) } : {}),
    })];
  }
  if (head.startsWith('{"v":1,"rule":"index')) return ["wrong index", checkIndexWrong(file, policy)];
  if (head.startsWith('{"v":1,"rule":')) return ["contradiction", checkContradiction(file, policy, asked)];
  if (head.startsWith('{"v":1,"index":')) return ["dossier", checkDossier(file, policy, { now, ...asked, ...pinned })];
  return ["split view", checkSplitView(file, policy)];
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
  const first = wordOf(v);
  line(out, "h2", `${first}: ${name} is a ${kind}, ${v.outcome}`, first === "PASS" ? "good" : "bad");
  const list = line(out, "ol", "", "steps");
  for (const s of v.steps) {
    const item = line(list, "li", "", s.state.replace(" ", "-"));
    line(item, "strong", s.state);
    item.append(" ");
    line(item, "code", s.id);
    line(item, "span", ` ${s.detail}`);
  }
  if ("absent" in v && v.absent.length > 0) line(out, "p", `The evidence does not prove: ${v.absent.join(", ")}.`);
  for (const s of "subjects" in v ? v.subjects : []) for (const r of s.standings) line(out, "p", `${s.identity}: ${r.registrar} says: ${r.says}`);
  const pages = out.dataset["entry"];
  if (pages && first === "PASS" && "index" in v && v.origin !== undefined && v.index !== undefined) {
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

let last: [name: string, file: Uint8Array, dossiers: Uint8Array[]] | undefined;
/** What this verifier said of it. */
let said: Said | undefined;

interface Said {
  word: string;
  outcome: string;
  /** The step that refused. */
  step: string;
}

/** Files of the reader that count until the page is left. */
const pins = { registrars: "", openings: [] as string[] };

function asked(): Asked {
  const value = (id: string) => element<HTMLInputElement>(id).value;
  const list = (id: string, by: RegExp) => value(id).split(by).map((s) => s.trim()).filter((s) => s !== "");
  return { policy: value("policy"), realm: value("realm"), level: value("level"), appraisals: list("appraisals", /[\s,]/), endorsedBy: list("endorsed", /,/), ...pins };
}

function run(name: string, file: Uint8Array, dossiers: Uint8Array[] = []): void {
  last = [name, file, dossiers];
  document.getElementById("again-outcome")?.replaceChildren();
  try {
    const [kind, v] = check(file, asked(), dossiers);
    said = { word: wordOf(v), outcome: v.outcome, step: v.steps.find((s) => s.state === "refused")?.id ?? "" };
    show(name, kind, v);
  } catch (e) {
    if (!(e instanceof PoclogError)) throw e;
    said = { word: "FAIL", outcome: "refused", step: e.step };
    refuse(name, e.message);
  }
}

declare global {
  /** Go's wasm_exec.js. */
  var Go: new () => { importObject: WebAssembly.Imports; run(instance: WebAssembly.Instance): Promise<void> };
  var poclogRecheck: ((file: Uint8Array, asked: string, dossiers: Uint8Array[]) => string) | undefined;
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
  const [name, file, dossiers] = last;
  const own = said;
  button.disabled = true;
  line(out, "p", "The Go code is being loaded.");
  try {
    await load(button);
    const v = JSON.parse(globalThis.poclogRecheck?.(file, JSON.stringify(asked()), dossiers) ?? "") as { kind: string; word: string; outcome: string; step: string; detail: string };
    // The page's verifier is undecided where only an appraisal could tell.
    const same = own.word === "UNDECIDED" || (own.word === v.word && own.outcome === v.outcome && own.step === v.step);
    out.replaceChildren();
    line(out, "h2", `The Go code: ${v.word}: ${name} is a ${v.kind}, ${v.outcome}`, v.word === "PASS" ? "good" : "bad");
    line(out, "p", [v.step, v.detail].filter((s) => s !== "").join(": "));
    if (same) line(out, "p", "Both implementations say the same.");
    else line(out, "p", `The implementations DISAGREE: this page says ${own.outcome} ${own.step}. One of both has a fault: please report it, with the file.`, "bad");
    document.body.dataset["again"] = `${v.word} ${same ? "same" : "other"}`;
  } catch (e) {
    out.replaceChildren();
    line(out, "p", `The Go code cannot be run here: ${(e as Error).message}`, "bad");
    document.body.dataset["again"] = "failed";
  } finally {
    button.disabled = false;
  }
}

/** Takes files: those that the reader goes by are kept, and what is to be checked is. */
async function read(files: FileList | undefined | null): Promise<void> {
  const found: [name: string, file: Uint8Array][] = [];
  for (const f of Array.from(files ?? [])) {
    if (f.size > MOST) return refuse(f.name, `${f.size} bytes: want at most ${MOST}`);
    const file = new Uint8Array(await f.arrayBuffer());
    try {
      if (!keep(file)) found.push([f.name, file]);
    } catch (e) {
      if (!(e instanceof PoclogError)) throw e;
      return refuse(f.name, e.message);
    }
  }
  const isDossier = ([, file]: [string, Uint8Array]) => headOf(file).startsWith('{"v":1,"index":');
  const main = found.filter((f) => !isDossier(f));
  const dossiers = found.filter(isDossier).map(([, file]) => file);
  const one = main[0] ?? found[0];
  if (!one) return again();
  if (found.length > 1 && (main.length !== 1 || headOf(one[1]).startsWith("{"))) return refuse("several files", "want one file, or a receipt with dossiers");
  run(...one, main.length > 0 ? dossiers : []);
}

/** Keeps a file that the reader goes by, in plain sight; false: it is none. */
function keep(file: Uint8Array): boolean {
  const head = headOf(file);
  const text = new TextDecoder().decode(file);
  if (head.startsWith('{\n  "v": 1,\n  "registrars":')) {
    const { names } = parseRegistrars(file);
    pins.registrars = text;
    element("pins").textContent = `Registrars that count: ${names.join(", ")}.`;
  } else if (head.startsWith('{"v":1,"root":')) {
    parseOpening(file);
    pins.openings.push(text);
    line(element("pins"), "span", " An opening shows a machine of a private fleet.");
  } else if (head.startsWith('{\n  "v": 1,\n  "realm":')) {
    parseAppraisalPolicy(file);
    element<HTMLInputElement>("appraisals").value = digest(file);
  } else if (/^(#|(log|witness|group|quorum) )/.test(head)) {
    element<HTMLTextAreaElement>("policy").value = text;
  } else return false;
  return true;
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

const again = (): void => last && run(...last);
for (const id of ["policy", "realm", "level", "appraisals", "endorsed"]) element(id).addEventListener("change", again);
element<HTMLInputElement>("file").addEventListener("change", (e) => void read((e.target as HTMLInputElement).files));
document.addEventListener("dragover", (e) => e.preventDefault());
document.addEventListener("drop", (e) => {
  e.preventDefault();
  void read(e.dataTransfer?.files);
});
const button = document.getElementById("again") as HTMLButtonElement | null;
button?.addEventListener("click", () => void recheck(button));
const address = new URLSearchParams(location.search);
if (address.get("level") === "0") element<HTMLSelectElement>("level").value = "0";
const path = address.get("file");
if (path) linked(path).catch((e: Error) => refuse("the linked file", e.message));
document.body.dataset["ready"] = "yes";
