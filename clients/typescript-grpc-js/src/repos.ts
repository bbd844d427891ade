// RepoService as an application calls it: connect, list a page, list everything, read an error.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { credentials, Metadata, status } from "@grpc/grpc-js";
import type { CallOptions, ChannelCredentials, ChannelOptions, ServiceError } from "@grpc/grpc-js";

import { RepoServiceClient } from "./gen/gateway/swr/v1/repos.js";
import type {
  ListReposRequest,
  ListReposResponse,
  StreamReposRequest,
  StreamReposResponse,
} from "./gen/gateway/swr/v1/repos.js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";

// What is retried, and how often.
const SERVICE_CONFIG = readFileSync(new URL("../../../docs/service-config.json", import.meta.url), "utf8");

const MAX_RESUMES = 3; // in a row, that lead no further
const MAX_WAIT_MS = 30_000; // who is asked to wait longer wants to know rather than to wait

/** PEM files: whom to trust, and what to show to a gateway that asks for a certificate. */
export interface Tls {
  ca: string;
  certificate?: string;
  key?: string;
}

/** Deadline and more of a call, beside gRPC's own options. */
export interface CallSettings extends CallOptions {
  metadata?: Metadata;
  signal?: AbortSignal;
}

/** Opens a channel; nothing is connected before the first call. The target is `host:port` or `unix:/path`. */
export function connect(target: string, tls?: Tls, options: ChannelOptions = {}): RepoServiceClient {
  return new RepoServiceClient(target, tls ? secured(tls) : credentials.createInsecure(), {
    "grpc.service_config": SERVICE_CONFIG,
    // During calls only. The gateway takes a ping every 5 seconds, other servers one in 5 minutes.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 20_000,
    ...options,
  });
}

function secured({ ca, certificate, key }: Tls): ChannelCredentials {
  const read = (path?: string) => (path ? readFileSync(path) : null);
  return credentials.createSsl(read(ca), read(key), read(certificate));
}

/** Metadata that signs a call in. */
export function withToken(token: string | undefined): Metadata {
  const metadata = new Metadata();
  if (token) metadata.set("x-auth-token", token);
  return metadata;
}

/** Has a signal cancel a call; returns what ends that. */
function cancelledBy(signal: AbortSignal | undefined, call: { cancel(): void }): () => void {
  const cancel = () => call.cancel();
  if (signal?.aborted) cancel(); // it tells nobody who listens from now on
  signal?.addEventListener("abort", cancel, { once: true });
  return () => signal?.removeEventListener("abort", cancel);
}

/** Lists one page, and waits for a connection up to its deadline. */
export function list(
  client: RepoServiceClient,
  request: ListReposRequest,
  { metadata = new Metadata(), signal, ...options }: CallSettings = {},
): Promise<ListReposResponse> {
  // The service config says so too, but grpc-js does not read it there.
  const patient = metadata.clone();
  patient.setOptions({ ...metadata.getOptions(), waitForReady: true });
  return new Promise((resolve, reject) => {
    const call = client.listRepos(request, patient, options, (error, page) => {
      release();
      if (error) reject(error);
      else resolve(page);
    });
    const release = cancelledBy(signal, call);
  });
}

/** One stream of pages, as it comes. Who leaves the loop cancels the call. */
export async function* stream(
  client: RepoServiceClient,
  request: StreamReposRequest,
  { metadata = new Metadata(), signal, ...options }: CallSettings = {},
): AsyncGenerator<StreamReposResponse, void> {
  const call = client.streamRepos(request, metadata, options);
  const release = cancelledBy(signal, call);
  try {
    yield* call as AsyncIterable<StreamReposResponse>;
  } finally {
    release();
    call.cancel();
  }
}

/** The whole list. A stream that breaks is opened again behind its last message, and `onResume` is told why. */
export async function* listAll(
  client: RepoServiceClient,
  request: StreamReposRequest,
  settings: CallSettings = {},
  onResume: (error: ServiceError) => void = () => {},
): AsyncGenerator<StreamReposResponse, void> {
  let startOffset = request.startOffset ?? 0;
  let resumes = 0;
  for (;;) {
    try {
      for await (const message of stream(client, { ...request, startOffset }, settings)) {
        if (message.nextOffset > startOffset) {
          startOffset = message.nextOffset;
          resumes = 0;
        }
        yield message;
      }
      return;
    } catch (error) {
      const wait = waitBeforeResume(error as ServiceError, resumes);
      const late = wait !== undefined && settings.deadline !== undefined && Date.now() + wait >= +settings.deadline;
      if (wait === undefined || late || settings.signal?.aborted) throw error;
      onResume(error as ServiceError);
      resumes += 1;
      await sleep(wait, undefined, { signal: settings.signal });
    }
  }
}

/** Milliseconds until a broken stream may be opened again; undefined where that does not help, or did not. */
function waitBeforeResume(error: ServiceError, resumes: number): number | undefined {
  if (resumes === MAX_RESUMES) return undefined;
  const failure = readError(error);
  // Without details it was not the gateway that ended the call: the connection broke.
  const broken = !failure.reason && [status.CANCELLED, status.INTERNAL].includes(failure.code);
  if (failure.code !== status.UNAVAILABLE && failure.reason !== "SLOW_READER" && !broken) return undefined;
  const wait = failure.pushbackMs ?? failure.retryDelayMs ?? 200 * 2 ** resumes * (0.5 + Math.random() / 2);
  return wait >= 0 && wait <= MAX_WAIT_MS ? wait : undefined;
}

/** What a failed call says. `reason` is empty where the gateway did not answer. */
export interface Failure {
  code: status;
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
  /** Types of all details that were read. */
  details: string[];
}

/** Reads the details of a failed call. They arrive as a google.rpc.Status in a binary trailer. */
export function readError(error: ServiceError): Failure {
  const failure: Failure = {
    code: error.code,
    message: error.details,
    reason: "",
    domain: "",
    metadata: {},
    violations: [],
    requestId: "",
    details: [],
  };
  const [pushback] = error.metadata?.get("grpc-retry-pushback-ms") ?? [];
  if (pushback !== undefined) failure.pushbackMs = /^\d+$/.test(String(pushback)) ? Number(pushback) : -1;
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!packed) return failure;
  for (const { typeUrl, value } of Status.decode(packed as Buffer).details) {
    const type = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
    failure.details.push(type);
    switch (type) {
      case "google.rpc.ErrorInfo":
        ({ reason: failure.reason, domain: failure.domain, metadata: failure.metadata } = ErrorInfo.decode(value));
        break;
      case "google.rpc.BadRequest":
        failure.violations = BadRequest.decode(value).fieldViolations;
        break;
      case "google.rpc.RetryInfo": {
        const { seconds, nanos } = RetryInfo.decode(value).retryDelay ?? { seconds: 0n, nanos: 0 };
        failure.retryDelayMs = Number(seconds) * 1000 + nanos / 1e6;
        break;
      }
      case "google.rpc.RequestInfo":
        failure.requestId = RequestInfo.decode(value).requestId;
        break;
    }
  }
  return failure;
}
