// The calls of the page. They go to where the page came from, so no CORS is needed.
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { type Center, RepoService } from "./gen/gateway/swr/v1/repos_pb";

export interface Filter {
  center: Center;
  namespace: string;
  name: string;
  category: string;
}

const client = createClient(RepoService, createGrpcWebTransport({ baseUrl: location.origin }));

// A little more than the gateway gives itself by default: its own answer says more than "deadline exceeded".
const TIMEOUT_MS = 20_000;

export function listPage(filter: Filter, offset: number, limit: number, signal: AbortSignal) {
  return client.listRepos({ filter, offset, limit }, { signal, timeoutMs: TIMEOUT_MS });
}

// No deadline: it would bound the whole stream, and the gateway bounds each of its pages.
export function streamAll(filter: Filter, startOffset: number, signal: AbortSignal) {
  return client.streamRepos({ filter, startOffset }, { signal });
}
