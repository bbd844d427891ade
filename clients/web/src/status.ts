// The line above the table, which screen readers read out when it changes.
import { byId } from "./dom";
import { count } from "./format";

const status = byId("status", HTMLElement);

export function say(text: string): void {
  status.textContent = text;
}

export function repositories(number: bigint | number): string {
  return `${count(number)} ${BigInt(number) === 1n ? "repository" : "repositories"}`;
}
