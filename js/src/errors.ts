/**
 * The one error type of this module: it says which step refused, by a stable id, and why.
 *
 * The ids are those of docs/format.md. The detail is for people and may change.
 */
export class PoclogError extends Error {
  override readonly name = "PoclogError";

  constructor(
    readonly step: string,
    readonly detail: string,
    /** Of step "policy": the id of the rule that a tlog-policy breaks. */
    readonly rule?: string,
  ) {
    super(`${step}: ${detail}`);
  }
}

/** Throws a PoclogError of a step. */
export function refuse(step: string, detail: string, rule?: string): never {
  throw new PoclogError(step, detail, rule);
}

/** Runs f and gives a refusal of step "format" the step of whoever asked for the parsing. */
export function under<T>(step: string, f: () => T): T {
  try {
    return f();
  } catch (e) {
    if (e instanceof PoclogError && e.step === "format") refuse(step, e.detail);
    throw e;
  }
}
