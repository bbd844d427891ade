// Lists repositories: a page of a namespace, or with --all the whole list.
import { parseArgs } from "node:util";

import { Code, ConnectError } from "@connectrpc/connect";

import type { Repo } from "./gen/gateway/swr/v1/repos_pb.js";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { connect, list, listAll, readError } from "./repos.js";

const { values: given } = parseArgs({
  options: {
    target: { type: "string", default: "127.0.0.1:50051" },
    namespace: { type: "string", default: "" },
    all: { type: "boolean", default: false },
    ca: { type: "string" },
    cert: { type: "string" },
    key: { type: "string" },
  },
});

const { client, close } = connect(given.target, {
  token: process.env.SWR_GATEWAY_TARGET_TOKEN,
  tls: given.ca ? { ca: given.ca, certificate: given.cert, key: given.key } : undefined,
});
const filter = { namespace: given.namespace };

try {
  if (given.all) {
    for await (const page of listAll(client, { filter }, { timeoutMs: 600_000 }, explain)) page.repos.forEach(print);
  } else {
    // Without a deadline a call takes as long as the gateway lets it.
    const page = await list(client, { filter, offset: 0, limit: 10 }, { timeoutMs: 10_000 });
    page.repos.forEach(print);
    console.log(`${page.repos.length} of ${page.contentRange?.total ?? "unknown"}`);
  }
} catch (error) {
  explain(ConnectError.from(error));
  process.exitCode = 1;
} finally {
  close();
}

function print(repo: Repo): void {
  console.log(`${repo.namespace}/${repo.name}  ${repo.size} bytes  ${repo.updatedAt ? text(repo.updatedAt) : "-"}`);
}

function text({ seconds, nanos }: Timestamp): string {
  const date = new Date(Number(seconds) * 1000).toISOString();
  return date.replace("000Z", `${String(nanos).padStart(9, "0")}Z`);
}

function explain(error: ConnectError): void {
  const failure = readError(error);
  console.error(`${Code[failure.code]} ${failure.reason}: ${failure.message}`);
  for (const { field, description } of failure.violations) console.error(`  ${field}: ${description}`);
  if (failure.retryDelayMs !== undefined) console.error(`  try again in ${failure.retryDelayMs} ms`);
  if (failure.requestId) console.error(`  request id ${failure.requestId}`);
}
