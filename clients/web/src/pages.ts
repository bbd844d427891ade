// Page by page.
import { run } from "./calls";
import { listPage } from "./client";
import { byId } from "./dom";
import type { Search } from "./form";
import { count } from "./format";
import type { ListReposResponse } from "./gen/gateway/swr/v1/repos_pb";
import { repositories, say } from "./status";
import * as table from "./table";

const pager = byId("pager", HTMLElement);
const previous = byId("previous", HTMLButtonElement);
const next = byId("next", HTMLButtonElement);

interface Shown {
  search: Search;
  offset: number;
  behind: number;
}

let shown: Shown | undefined;

export async function list(search: Search): Promise<void> {
  pager.hidden = true;
  if ((await turnTo(search, 0)) === "failed") {
    table.show([]);
    say("Nothing is listed.");
  }
}

export function leave(): void {
  pager.hidden = true;
}

previous.addEventListener("click", () => turn(previous, ({ search, offset }) => Math.max(0, offset - search.pageSize)));
next.addEventListener("click", () => turn(next, ({ behind }) => behind));

function turn(button: HTMLButtonElement, to: (from: Shown) => number): void {
  if (!shown || button.ariaDisabled === "true") return;
  void turnTo(shown.search, to(shown));
}

function turnTo(search: Search, offset: number) {
  return run(async (signal) => {
    const page = await listPage(search.filter, offset, search.pageSize, signal);
    signal.throwIfAborted();
    // By the rows that came: an upstream may cap its pages. Where none came, it hides those that were asked for.
    const behind = offset + (page.repos.length || search.pageSize);
    shown = { search, offset, behind };
    table.show(page.repos);
    say(describe(page, offset));
    pager.hidden = false;
    // Not `disabled`, which would take the focus away from who presses it again and again.
    previous.ariaDisabled = String(offset === 0);
    next.ariaDisabled = String(!hasMore(page, search, behind));
  });
}

function hasMore(page: ListReposResponse, search: Search, behind: number): boolean {
  if (!page.contentRange) return page.repos.length === search.pageSize;
  return BigInt(behind) < page.contentRange.total;
}

function describe(page: ListReposResponse, offset: number): string {
  const total = page.contentRange?.total;
  if (page.repos.length === 0) {
    return total ? `Nothing here: the list has ${repositories(total)}.` : "No repository matches.";
  }
  const range = `${count(offset + 1)} to ${count(offset + page.repos.length)}`;
  return total === undefined ? `Repositories ${range}.` : `Repositories ${range} of ${count(total)}.`;
}
