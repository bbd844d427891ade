// RepoService as an application calls it: connect, list a page, list everything, read an error.
import { readFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as dialTls } from "node:tls";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { CallOptions, Client, Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { GrpcTransportOptions } from "@connectrpc/connect-node";

import { RepoService } from "./gen/gateway/swr/v1/repos_pb.js";
import type { ListReposRequestSchema, ListReposResponse } from "./gen/gateway/swr/v1/repos_pb.js";
import type { StreamReposRequestSchema, StreamReposResponse } from "./gen/gateway/swr/v1/repos_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

export type RepoClient = Client<typeof RepoService>;

const MAX_RESUMES = 3; // in a row, that lead no further
const MAX_WAIT_MS = 30_000; // who is asked to wait longer wants to know rather than to wait

/** PEM files: whom to trust, and what to show to a gateway that asks for a certificate. */
export interface Tls {
  ca: string;
  certificate?: string;
  key?: string;
}

/** A connection to one gateway, which is opened by the first call. */
export interface Connection {
  client: RepoClient;
  transport: Transport;
  close(): void;
}

/** Milliseconds between pings, and whether they go on between calls. */
const KEEPALIVE = { pingIntervalMs: 30_000, pingTimeoutMs: 20_000, pingIdleConnection: false };

/** Opens a connection to `host:port` or `unix:/path`. */
export function connect(
  target: string,
  { token, tls, keepalive = KEEPALIVE, ...options }: Settings = {},
): Connection {
  const path = target.startsWith("unix:") ? target.slice("unix:".length) : undefined;
  const baseUrl = `${tls ? "https" : "http"}://${path ? "localhost" : target}`;
  const session = new Http2SessionManager(baseUrl, keepalive, { ...(tls && secured(tls)), ...(path && local(path, tls)) });
  const interceptors = [...(token ? [signedIn(token)] : []), ...(options.interceptors ?? [])];
  const transport = createGrpcTransport({ ...options, baseUrl, sessionManager: session, interceptors });
  return { client: createClient(RepoService, transport), transport, close: () => session.abort() };
}

export interface Settings extends Partial<Omit<GrpcTransportOptions, "baseUrl">> {
  token?: string;
  tls?: Tls;
  keepalive?: typeof KEEPALIVE;
}

function secured({ ca, certificate, key }: Tls) {
  const read = (path?: string) => (path ? readFileSync(path) : undefined);
  return { ca: read(ca), cert: read(certificate), key: read(key) };
}

/** What has Node's HTTP/2 speak through a socket file. */
function local(path: string, tls?: Tls) {
  const secure = tls && { ...secured(tls), servername: "localhost", ALPNProtocols: ["h2"] };
  return { createConnection: () => (secure ? dialTls({ path, ...secure }) : dial(path)) };
}

function signedIn(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("x-auth-token", token);
    return next(request);
  };
}

/** Lists one page. */
export function list(
  client: RepoClient,
  request: MessageInitShape<typeof ListReposRequestSchema>,
  options: CallOptions = {},
): Promise<ListReposResponse> {
  return client.listRepos(request, options);
}

/** One stream of pages, as it comes. Who leaves the loop cancels the call. */
export async function* stream(
  client: RepoClient,
  request: MessageInitShape<typeof StreamReposRequestSchema>,
  { signal, ...options }: CallOptions = {},
): AsyncGenerator<StreamReposResponse, void> {
  const leaving = new AbortController();
  const signals = signal ? [signal, leaving.signal] : [leaving.signal];
  try {
    yield* client.streamRepos(request, { ...options, signal: AbortSignal.any(signals) });
  } finally {
    leaving.abort();
  }
}

/** The whole list. A stream that breaks is opened again behind its last message, and `onResume` is told why. */
export async function* listAll(
  client: RepoClient,
  request: MessageInitShape<typeof StreamReposRequestSchema>,
  { timeoutMs, ...options }: CallOptions = {},
  onResume: (error: ConnectError) => void = () => {},
): AsyncGenerator<StreamReposResponse, void> {
  const deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
  let startOffset = request.startOffset ?? 0;
  let resumes = 0;
  for (;;) {
    // At least 1: to Connect, 0 or less is no deadline at all.
    const left = deadline === undefined ? undefined : Math.max(1, deadline - Date.now());
    try {
      for await (const message of stream(client, { ...request, startOffset }, { ...options, timeoutMs: left })) {
        if (message.nextOffset > startOffset) {
          startOffset = message.nextOffset;
          resumes = 0;
        }
        yield message;
      }
      return;
    } catch (raised) {
      const error = ConnectError.from(raised);
      const wait = waitBeforeResume(error, resumes);
      const late = wait !== undefined && deadline !== undefined && Date.now() + wait >= deadline;
      if (wait === undefined || late || options.signal?.aborted) throw error;
      onResume(error);
      resumes += 1;
      await sleep(wait, undefined, { signal: options.signal });
    }
  }
}

/** Milliseconds until a broken stream may be opened again; undefined where that does not help, or did not. */
function waitBeforeResume(error: ConnectError, resumes: number): number | undefined {
  if (resumes === MAX_RESUMES) return undefined;
  const failure = readError(error);
  // Without details it was not the gateway that ended the call: the connection broke.
  const broken = !failure.reason && [Code.Canceled, Code.Aborted, Code.Internal].includes(failure.code);
  if (failure.code !== Code.Unavailable && failure.reason !== "SLOW_READER" && !broken) return undefined;
  const wait = failure.pushbackMs ?? failure.retryDelayMs ?? 200 * 2 ** resumes * (0.5 + Math.random() / 2);
  return wait >= 0 && wait <= MAX_WAIT_MS ? wait : undefined;
}

/** What a failed call says. `reason` is empty where the gateway did not answer. */
export interface Failure {
  code: Code;
  message: string;
  reason: string;
  domain: string;
  /** Such as `httpStatus` and `upstreamCode`. */
  metadata: Record<string, string>;
  violations: { field: string; description: string }[];
  retryDelayMs?: number;
  /** gRPC's own wait, which wins; -1 asks not to try again. */
  pushbackMs?: number;
  requestId: string;
}

/** Reads the details of a failed call. */
export function readError(error: ConnectError): Failure {
  const [info] = error.findDetails(ErrorInfoSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  const delay = retry && (retry.retryDelay ?? { seconds: 0n, nanos: 0 });
  const pushback = error.metadata.get("grpc-retry-pushback-ms");
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info?.reason ?? "",
    domain: info?.domain ?? "",
    metadata: info?.metadata ?? {},
    violations: error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations),
    retryDelayMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    pushbackMs: pushback === null ? undefined : /^\d+$/.test(pushback) ? Number(pushback) : -1,
    requestId: error.findDetails(RequestInfoSchema)[0]?.requestId ?? "",
  };
}
