// The filter: what it asks for, and what is wrong with it, beside the field that it is about.
import type { Filter } from "./client";
import { byId, prose } from "./dom";
import { Center } from "./gen/gateway/swr/v1/repos_pb";
import type { Violation } from "./problem";

export interface Search {
  filter: Filter;
  pageSize: number;
}

const form = byId("filter", HTMLFormElement);

// What a violation names, and the field that a person sees it at.
const FIELDS = new Map([
  ["filter.center", "center"],
  ["filter.namespace", "namespace"],
  ["filter.name", "name"],
  ["filter.category", "category"],
  ["limit", "page-size"],
]);

export function onSubmit(act: () => void): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

export function read(): Search {
  const data = new FormData(form);
  const text = (name: string) => String(data.get(name) ?? "");
  return {
    filter: {
      center: text("center") === "third-party" ? Center.THIRD_PARTY : Center.SELF,
      namespace: text("namespace"),
      name: text("name"),
      category: text("category"),
    },
    pageSize: Number(text("page-size")),
  };
}

export function clearViolations(): void {
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll(".violation")) place.replaceChildren();
}

// Shows what belongs to a field, and takes a person to the first one. Returns the rest.
export function showViolations(violations: Violation[]): Violation[] {
  const others: Violation[] = [];
  let first: HTMLElement | undefined;
  for (const violation of violations) {
    const input = byField(violation.field);
    if (!input) {
      others.push(violation);
      continue;
    }
    input.setAttribute("aria-invalid", "true");
    const line = document.createElement("span");
    line.append(...prose(sentence(violation.description)));
    byId(`${input.id}-violation`, HTMLElement).append(line);
    first ??= input;
  }
  first?.focus();
  return others;
}

function byField(field: string): HTMLElement | null {
  const id = FIELDS.get(field);
  return id ? document.getElementById(id) : null;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
