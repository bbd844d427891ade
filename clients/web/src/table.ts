// The repositories that are shown.
import { byId } from "./dom";
import * as format from "./format";
import type { Repo } from "./gen/gateway/swr/v1/repos_pb";

const table = byId("table", HTMLTableElement);
const body = byId("repositories", HTMLTableSectionElement);
const template = byId("row", HTMLTemplateElement);

// Tens of thousands of rows in one table keep a page from answering.
const MOST_ROWS = 2000;

export function show(repos: Repo[]): void {
  body.replaceChildren();
  append(repos);
}

// What is more than a table bears is left out: `size` is what is there.
export function append(repos: Repo[]): void {
  body.append(...repos.slice(0, MOST_ROWS - size()).map(row));
  table.hidden = size() === 0;
}

export function size(): number {
  return body.rows.length;
}

function row(repo: Repo): Node {
  const copy = template.content.cloneNode(true) as DocumentFragment;
  const put = (name: string, text: string, exact = "") => {
    const element = copy.querySelector<HTMLElement>(`[data-field="${name}"]`);
    if (!element) throw new Error(`the template of a row has no ${name}`);
    element.textContent = text;
    if (exact) element.title = exact;
    return element;
  };
  put("namespace", repo.namespace && `${repo.namespace}/`);
  put("name", repo.name);
  put("public", repo.isPublic ? "Public" : "").hidden = !repo.isPublic;
  put("description", repo.description).hidden = !repo.description;
  put("category", repo.category);
  put("size", format.size(repo.size), `${format.count(repo.size)} bytes`);
  put("images", format.about(repo.numImages), format.count(repo.numImages));
  put("pulls", format.about(repo.numDownload), format.count(repo.numDownload));
  if (repo.updatedAt) {
    const exact = format.exactTime(repo.updatedAt);
    put("updated", format.day(repo.updatedAt), exact).setAttribute("datetime", exact);
  }
  return copy;
}
