// Lists repositories: a page of a namespace, or with --all the whole list.
import { parseArgs } from "node:util";

import { status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";

import { ListReposRequest, StreamReposRequest } from "./gen/gateway/swr/v1/repos.js";
import type { Repo } from "./gen/gateway/swr/v1/repos.js";
import type { Timestamp } from "./gen/google/protobuf/timestamp.js";
import { connect, list, listAll, readError, withToken } from "./repos.js";

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

const tls = given.ca ? { ca: given.ca, certificate: given.cert, key: given.key } : undefined;
const client = connect(given.target, tls);
const metadata = withToken(process.env.SWR_GATEWAY_TARGET_TOKEN);
const filter = { namespace: given.namespace };

try {
  if (given.all) {
    const request = StreamReposRequest.fromPartial({ filter });
    const settings = { metadata, deadline: Date.now() + 600_000 };
    for await (const page of listAll(client, request, settings, explain)) page.repos.forEach(print);
  } else {
    const request = ListReposRequest.fromPartial({ filter, offset: 0, limit: 10 });
    // Without a deadline a call takes as long as the gateway lets it.
    const page = await list(client, request, { metadata, deadline: Date.now() + 10_000 });
    page.repos.forEach(print);
    console.log(`${page.repos.length} of ${page.contentRange?.total ?? "unknown"}`);
  }
} catch (error) {
  explain(error as ServiceError);
  process.exitCode = 1;
} finally {
  client.close();
}

function print(repo: Repo): void {
  console.log(`${repo.namespace}/${repo.name}  ${repo.size} bytes  ${repo.updatedAt ? text(repo.updatedAt) : "-"}`);
}

function text({ seconds, nanos }: Timestamp): string {
  const date = new Date(Number(seconds) * 1000).toISOString();
  return date.replace("000Z", `${String(nanos).padStart(9, "0")}Z`);
}

function explain(error: ServiceError): void {
  const failure = readError(error);
  console.error(`${status[failure.code]} ${failure.reason}: ${failure.message}`);
  for (const { field, description } of failure.violations) console.error(`  ${field}: ${description}`);
  if (failure.retryDelayMs !== undefined) console.error(`  try again in ${failure.retryDelayMs} ms`);
  if (failure.requestId) console.error(`  request id ${failure.requestId}`);
}
