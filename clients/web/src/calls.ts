// One call at a time: who asks for something else waits no more for what was asked before.
import { byId } from "./dom";
import * as form from "./form";
import * as notice from "./notice";
import { problemOf } from "./problem";

export type Outcome = "done" | "failed" | "stopped" | "superseded";

const list = byId("list", HTMLElement);
let current = new AbortController();

export function stop(): void {
  current.abort();
}

export async function run(work: (signal: AbortSignal) => Promise<void>): Promise<Outcome> {
  current.abort();
  const mine = new AbortController();
  current = mine;
  list.setAttribute("aria-busy", "true");
  form.clearViolations();
  notice.clear();
  const outcome = await outcomeOf(work, mine);
  if (outcome !== "superseded") list.removeAttribute("aria-busy");
  return outcome;
}

async function outcomeOf(work: (signal: AbortSignal) => Promise<void>, mine: AbortController): Promise<Outcome> {
  try {
    await work(mine.signal);
    return "done";
  } catch (error) {
    if (current !== mine) return "superseded";
    if (mine.signal.aborted) return "stopped";
    const problem = problemOf(error);
    notice.show(problem, form.showViolations(problem.violations));
    return "failed";
  }
}
