import type { ContradictionVerdict, DossierVerdict, IndexWrongVerdict, SplitViewVerdict, Verdict } from "./index.js";

export type Shown = Verdict | DossierVerdict | ContradictionVerdict | IndexWrongVerdict | SplitViewVerdict;

/** The first word of a verdict: a file shows what it is for, or not, or only an appraisal could tell. */
export function wordOf(v: Shown): "PASS" | "FAIL" | "UNDECIDED" {
  if (v.outcome === "refused") return "FAIL";
  if (v.outcome === "undecided") return "UNDECIDED";
  if ("found" in v && v.found.some((f) => f.severity !== "information")) return "FAIL";
  if (!("severity" in v) || v.severity === "contradiction") return "PASS";
  return v.ifReappraised?.severity === "contradiction" ? "UNDECIDED" : "FAIL";
}
