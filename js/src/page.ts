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
  steps: Step[];
  absent?: string[];
}

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

/** Checks a file of any kind that there is. */
function check(file: Uint8Array, policyText: string, realm: string): [kind: string, shown: Shown] {
  const policy = parsePolicy(new TextEncoder().encode(policyText));
  const now = new Date();
  const asked = realm === "lab" ? { realm: "lab" as const } : {};
  const head = String.fromCharCode(...file.subarray(0, 21));
  if (!head.startsWith('{"v":1,')) return ["receipt", checkReceipt(file, policy, { now, ...asked })];
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

function run(name: string, file: Uint8Array): void {
  last = [name, file];
  try {
    show(name, ...check(file, element<HTMLTextAreaElement>("policy").value, element<HTMLSelectElement>("realm").value));
  } catch (e) {
    if (!(e instanceof PoclogError)) throw e;
    refuse(name, e.message);
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
const path = new URLSearchParams(location.search).get("file");
if (path) linked(path).catch((e: Error) => refuse("the linked file", e.message));
document.body.dataset["ready"] = "yes";
