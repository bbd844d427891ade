// The driver of `make interop`: does what it reads from standard input with the functions of the example.
import { createInterface } from "node:readline";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { CallOptions } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";

import { RepoService } from "./gen/gateway/swr/v1/repos_pb.js";
import { CommandSchema, OutcomeSchema, ResultSchema } from "./gen/interop_pb.js";
import type { Call, Command, Connect, Outcome, Result } from "./gen/interop_pb.js";
import { connect, list, listAll, readError, stream } from "./repos.js";
import type { Connection } from "./repos.js";

// A transport compresses all of its requests, or none.
let connections: { plain: Connection; gzip: Connection } | undefined;

for await (const line of createInterface({ input: process.stdin })) {
  const outcome = await perform(fromBinary(CommandSchema, Buffer.from(line, "base64")));
  process.stdout.write(`${Buffer.from(toBinary(OutcomeSchema, outcome)).toString("base64")}\n`);
}
close();

async function perform({ kind }: Command): Promise<Outcome> {
  if (kind.case === "connect") {
    close();
    connections = open(kind.value);
    return create(OutcomeSchema);
  }
  const calls = kind.value?.calls ?? [];
  if (!connections || calls.some((call) => call.waitForReady)) {
    return create(OutcomeSchema, { unsupported: "connect-node has no wait for ready." });
  }
  const { plain, gzip } = connections;
  return create(OutcomeSchema, { results: await Promise.all(calls.map((call) => make(call, call.gzip ? gzip : plain))) });
}

function open({ target, token, ca, certificate, key, maxReplyBytes, eagerKeepalive }: Connect) {
  const settings = {
    token,
    tls: ca ? { ca, certificate, key } : undefined,
    ...(maxReplyBytes && { readMaxBytes: maxReplyBytes }),
    ...(eagerKeepalive && { keepalive: { pingIntervalMs: 1000, pingTimeoutMs: 20_000, pingIdleConnection: true } }),
  };
  // What is smaller than compressMinBytes is not compressed, and a request of ours always is.
  const compressed = { sendCompression: compressionGzip, compressMinBytes: 0 };
  return { plain: connect(target, settings), gzip: connect(target, { ...settings, ...compressed }) };
}

function close(): void {
  connections?.plain.close();
  connections?.gzip.close();
}

async function make(call: Call, connection: Connection): Promise<Result> {
  const result = create(ResultSchema);
  const cancelling = new AbortController();
  const options = optionsOf(call, result, cancelling.signal);
  const timer = call.cancelAfterMs ? setTimeout(() => cancelling.abort(), Number(call.cancelAfterMs)) : undefined;
  try {
    if (call.request.case === "list") {
      result.pages.push(await list(connection.client, call.request.value, options));
    } else if (call.request.case === "unknown") {
      await unknown(connection, options);
    } else {
      await read(call, connection, options, result, cancelling);
    }
  } catch (error) {
    describe(ConnectError.from(error), result);
  } finally {
    clearTimeout(timer);
  }
  return result;
}

async function read(
  { request, cancelAfterMessages, pauseMs }: Call,
  { client }: Connection,
  options: CallOptions,
  result: Result,
  cancelling: AbortController,
): Promise<void> {
  if (request.case !== "stream" && request.case !== "listAll") return;
  const messages =
    request.case === "listAll"
      ? listAll(client, request.value, options)
      : stream(client, request.value, options);
  for await (const message of messages) {
    if (cancelling.signal.aborted) continue; // it was on its way
    result.messages.push(message);
    if (result.messages.length === cancelAfterMessages) cancelling.abort();
    if (pauseMs) await new Promise((resume) => setTimeout(resume, Number(pauseMs)));
  }
}

function optionsOf(call: Call, result: Result, signal: AbortSignal): CallOptions {
  const record = (headers: Headers) =>
    headers.forEach((value, name) => {
      if (!name.endsWith("-bin")) result.metadata[name] = value;
    });
  const timeoutMs = call.timeoutMs ? Number(call.timeoutMs) : undefined;
  return { headers: call.metadata, timeoutMs, signal, onHeader: record, onTrailer: record };
}

/** Calls a method that there is not, as a descriptor of a newer proto file would. */
async function unknown({ transport }: Connection, { signal, timeoutMs, headers }: CallOptions): Promise<void> {
  const method = { ...RepoService.method.listRepos, name: "Unknown" };
  await transport.unary(method, signal, timeoutMs, headers, {});
}

function describe(error: ConnectError, result: Result): void {
  const { code, message, reason, domain, metadata, violations, retryDelayMs = 0, requestId } = readError(error);
  for (const [name, value] of error.metadata) {
    if (!name.endsWith("-bin")) result.metadata[name] = value;
  }
  Object.assign(result, { code, message, reason, domain, errorMetadata: metadata, requestId });
  result.violations = create(ResultSchema, { violations: violations.map(({ field, description }) => ({ field, description })) }).violations;
  result.retryDelayMs = BigInt(Math.round(retryDelayMs));
  // What has no schema in `findDetails` stays as bytes under its name.
  result.details = error.details.map((detail) => ("type" in detail ? detail.type : detail.desc.typeName));
}
