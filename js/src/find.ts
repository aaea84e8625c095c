/**
 * The search of an explorer: what is dropped, chosen or pasted is looked at here, and the page goes to the address that
 * has the names in it. The file itself stays in the browser.
 */
import { lookFor, type LookFor } from "./lookfor.js";

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

/** More than any receipt or quote has. */
const MOST = 8 * 1024 * 1024;

function go(name: string, what: LookFor): void {
  const out = element("said");
  out.replaceChildren();
  if ("search" in what) return location.assign(`/search?${what.search}`);
  if ("why" in what) return out.append(`${name}: ${what.why}.`);
  const link = document.createElement("a");
  link.href = "/verify";
  link.textContent = "check it there";
  out.append(`${name} is ${what.verify}: `, link, ".");
}

async function look(file: File | undefined): Promise<void> {
  if (!file) return;
  if (file.size > MOST) return go(file.name, { why: `${file.size} bytes: want at most ${MOST}` });
  go(file.name, lookFor(new Uint8Array(await file.arrayBuffer())));
}

element<HTMLInputElement>("file").addEventListener("change", (e) => void look((e.target as HTMLInputElement).files?.[0]));
document.addEventListener("dragover", (e) => e.preventDefault());
document.addEventListener("drop", (e) => {
  e.preventDefault();
  void look(e.dataTransfer?.files[0]);
});
element<HTMLFormElement>("paste").addEventListener("submit", (e) => {
  e.preventDefault();
  go("This", lookFor(new TextEncoder().encode(element<HTMLTextAreaElement>("what").value), true));
});
element("chooser").hidden = false;
document.body.dataset["ready"] = "yes";
