// The box that says what went wrong.
import { byId, prose } from "./dom";
import type { Problem, Violation } from "./problem";

const box = byId("problem", HTMLElement);

export function clear(): void {
  box.replaceChildren();
}

// Says it, without what is said beside the fields already.
export function show(problem: Problem, others: Violation[]): void {
  const title = document.createElement("h2");
  title.textContent = problem.title;
  const lines = [
    problem.violations.length > 0 ? "" : problem.text,
    others.length < problem.violations.length ? "Correct what is marked above, and list again." : "",
    ...others.map(({ field, description }) => `\`${field}\` ${description}.`),
    problem.advice,
  ];
  box.replaceChildren(title, ...lines.filter(Boolean).map((line) => paragraph(line)));
  if (problem.reference) box.append(paragraph(problem.reference, "reference"));
}

function paragraph(text: string, kind = ""): HTMLElement {
  const element = document.createElement("p");
  element.className = kind;
  element.append(...prose(text));
  return element;
}
