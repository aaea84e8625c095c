/** A line for each step of a check, so that whoever shows a verdict can show what it rests on. */
import { PoclogError } from "./errors.js";

/** "absent": could not be made, or was not asked for. "not reached": an earlier step refused. */
export type State = "passed" | "refused" | "absent" | "not reached";

export interface Step {
  id: string;
  state: State;
  detail: string;
}

/** Ends a check whose step refused. */
export class Stop extends Error {}

/** Steps of a check in the order in which they are made. The first that refuses ends it. */
export class Steps {
  readonly all: Step[];
  #refused: Step | undefined;

  constructor(...ids: string[]) {
    this.all = ids.map((id) => ({ id, state: "not reached", detail: "" }));
  }

  /** Makes a step; f gives what there is to say, or undefined where the step cannot be made. */
  run<T>(id: string, f: () => T, say: (value: T) => string | Absent): T {
    try {
      const value = f();
      const said = say(value);
      if (typeof said === "string") this.#set(id, "passed", said);
      else this.#set(id, "absent", said.absent);
      return value;
    } catch (e) {
      if (!(e instanceof PoclogError)) throw e;
      this.#refused = this.#set(e.step === "format" ? id : e.step, "refused", e.detail);
      throw new Stop();
    }
  }

  /** Ends the check by a step of a file beside the one that is checked. */
  end(step: Step): never {
    this.#refused = { ...step };
    this.all.push(this.#refused);
    throw new Stop();
  }

  #set(id: string, state: State, detail: string): Step {
    let step = this.all.find((s) => s.id === id);
    if (!step) this.all.push((step = { id, state, detail }));
    step.state = state;
    step.detail = detail;
    return step;
  }

  get refused(): Step | undefined {
    return this.#refused;
  }
}

/** Why a step was not made. */
export interface Absent {
  absent: string;
}

export function absent(why: string): Absent {
  return { absent: why };
}
