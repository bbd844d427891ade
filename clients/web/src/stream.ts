// All repositories in one stream, which can be stopped, and goes on where it was stopped or broke.
import { run, stop } from "./calls";
import { streamAll } from "./client";
import { byId } from "./dom";
import type { Search } from "./form";
import { count } from "./format";
import { repositories, say } from "./status";
import * as table from "./table";

interface Progress {
  search: Search;
  rows: number;
  nextOffset: number;
  total: bigint | undefined;
}

const panel = byId("stream", HTMLElement);
const bar = byId("stream-progress", HTMLProgressElement);
const control = byId("stream-control", HTMLButtonElement);
const start = byId("stream-all", HTMLButtonElement);

let progress: Progress | undefined;
let isRunning = false;

export function begin(search: Search): void {
  table.show([]);
  void follow({ search, rows: 0, nextOffset: 0, total: undefined });
}

export function leave(): void {
  progress = undefined;
  panel.hidden = true;
}

control.addEventListener("click", () => {
  if (isRunning) stop();
  else if (progress) void follow(progress);
});

async function follow(mine: Progress): Promise<void> {
  progress = mine;
  isRunning = true;
  panel.hidden = false;
  control.textContent = "Stop";
  bar.hidden = false;
  bar.removeAttribute("value");
  say("Streaming …");
  const outcome = await run((signal) => receive(mine, signal));
  if (outcome === "superseded") return;
  isRunning = false;
  bar.hidden = true;
  if (outcome === "done") end(mine);
  else pause(mine);
}

async function receive(mine: Progress, signal: AbortSignal): Promise<void> {
  for await (const message of streamAll(mine.search.filter, mine.nextOffset, signal)) {
    signal.throwIfAborted();
    table.append(message.repos);
    mine.rows += message.repos.length;
    mine.nextOffset = message.nextOffset;
    mine.total = message.contentRange?.total;
    if (mine.total) {
      bar.max = Number(mine.total);
      bar.value = mine.nextOffset;
    }
  }
}

function end(mine: Progress): void {
  say(mine.rows === 0 ? "No repository matches." : `All ${repositories(mine.rows)}.${leftOut(mine)}`);
  if (document.activeElement === control) start.focus(); // it goes away, and the focus would with it
  panel.hidden = true;
}

function pause(mine: Progress): void {
  if (mine.rows === 0) {
    say("Nothing is listed.");
    panel.hidden = true;
    return;
  }
  const soFar = mine.total ? `${count(mine.rows)} of ${repositories(mine.total)}` : `${repositories(mine.rows)} so far`;
  say(`${soFar}.${leftOut(mine)}`);
  control.textContent = "Continue";
}

// What is to be said beside the number where not all of them are in the table.
function leftOut(mine: Progress): string {
  return table.size() < mine.rows ? ` The first ${count(table.size())} are shown: filter to see others.` : "";
}
