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

let shown: { search: Search; offset: number } | undefined;

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

previous.addEventListener("click", () => turnBy(-1));
next.addEventListener("click", () => turnBy(1));

function turnBy(pages: number): void {
  const button = pages < 0 ? previous : next;
  if (!shown || button.ariaDisabled === "true") return;
  const { search, offset } = shown;
  void turnTo(search, Math.max(0, offset + pages * search.pageSize));
}

function turnTo(search: Search, offset: number) {
  return run(async (signal) => {
    const page = await listPage(search.filter, offset, search.pageSize, signal);
    signal.throwIfAborted();
    shown = { search, offset };
    table.show(page.repos);
    say(describe(page, offset));
    pager.hidden = false;
    // Not `disabled`, which would take the focus away from who presses it again and again.
    previous.ariaDisabled = String(offset === 0);
    next.ariaDisabled = String(!hasMore(page, search, offset));
  });
}

function hasMore(page: ListReposResponse, search: Search, offset: number): boolean {
  if (!page.contentRange) return page.repos.length === search.pageSize;
  return BigInt(offset + search.pageSize) < page.contentRange.total;
}

function describe(page: ListReposResponse, offset: number): string {
  const total = page.contentRange?.total;
  if (page.repos.length === 0) {
    return total ? `Nothing here: the list has ${repositories(total)}.` : "No repository matches.";
  }
  const range = `${count(offset + 1)} to ${count(offset + page.repos.length)}`;
  return total === undefined ? `Repositories ${range}.` : `Repositories ${range} of ${count(total)}.`;
}
