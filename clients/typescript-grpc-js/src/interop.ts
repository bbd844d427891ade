// The driver of `make interop`: does what it reads from standard input with the functions of the example.
import { createInterface } from "node:readline";

import { compressionAlgorithms, InterceptingCall, Metadata, status } from "@grpc/grpc-js";
import type { ChannelOptions, Interceptor, ServiceError } from "@grpc/grpc-js";

import type { RepoServiceClient } from "./gen/gateway/swr/v1/repos.js";
import { Command, Outcome, Result } from "./gen/interop.js";
import type { Call, Connect } from "./gen/interop.js";
import { connect, list, listAll, readError, stream, withToken } from "./repos.js";
import type { CallSettings } from "./repos.js";

interface Connection {
  plain: RepoServiceClient;
  gzip: RepoServiceClient; // a channel compresses all of its calls, or none
  token: string;
}

let connection: Connection | undefined;

for await (const line of createInterface({ input: process.stdin })) {
  const outcome = await perform(Command.decode(Buffer.from(line, "base64")));
  process.stdout.write(`${Buffer.from(Outcome.encode(outcome).finish()).toString("base64")}\n`);
}
close();

async function perform(command: Command): Promise<Outcome> {
  if (command.connect) {
    close();
    connection = open(command.connect);
    return Outcome.create();
  }
  if (!connection) return Outcome.create({ unsupported: "no connection was asked for" });
  const { plain, gzip, token } = connection;
  const calls = command.calls?.calls ?? [];
  return Outcome.create({ results: await Promise.all(calls.map((call) => make(call, call.gzip ? gzip : plain, token))) });
}

function open({ target, token, ca, certificate, key, maxReplyBytes, eagerKeepalive }: Connect): Connection {
  const options: ChannelOptions = {
    // Else channels to one target share their connections, and closing one leaves them open.
    "grpc.use_local_subchannel_pool": 1,
    ...(maxReplyBytes && { "grpc.max_receive_message_length": maxReplyBytes }),
    ...(eagerKeepalive && { "grpc.keepalive_time_ms": 1000, "grpc.keepalive_permit_without_calls": 1 }),
  };
  const tls = ca ? { ca, certificate, key } : undefined;
  const compressed = { "grpc.default_compression_algorithm": compressionAlgorithms.gzip };
  return { plain: connect(target, tls, options), gzip: connect(target, tls, { ...options, ...compressed }), token };
}

function close(): void {
  connection?.plain.close();
  connection?.gzip.close();
}

async function make(call: Call, client: RepoServiceClient, token: string): Promise<Result> {
  const result = Result.create();
  const cancelling = new AbortController();
  const settings = settingsOf(call, token, result, cancelling.signal);
  const timer = call.cancelAfterMs ? setTimeout(() => cancelling.abort(), Number(call.cancelAfterMs)) : undefined;
  try {
    if (call.list) {
      result.pages.push(await list(client, call.list, settings));
    } else if (call.unknown) {
      await unknown(client, settings);
    } else {
      await read(call, client, settings, result, cancelling);
    }
  } catch (error) {
    describe(error as ServiceError, result);
  } finally {
    clearTimeout(timer);
  }
  return result;
}

async function read(
  call: Call,
  client: RepoServiceClient,
  settings: CallSettings,
  result: Result,
  cancelling: AbortController,
): Promise<void> {
  const messages = call.listAll
    ? listAll(client, call.listAll, settings)
    : stream(client, call.stream!, settings);
  for await (const message of messages) {
    if (cancelling.signal.aborted) continue; // it was on its way
    result.messages.push(message);
    if (result.messages.length === call.cancelAfterMessages) cancelling.abort();
    if (call.pauseMs) await new Promise((resume) => setTimeout(resume, Number(call.pauseMs)));
  }
}

function settingsOf(call: Call, token: string, result: Result, signal: AbortSignal): CallSettings {
  const metadata = withToken(token);
  if (call.waitForReady) metadata.setOptions({ waitForReady: true });
  for (const [name, value] of Object.entries(call.metadata)) metadata.set(name, value);
  const deadline = call.timeoutMs ? Date.now() + Number(call.timeoutMs) : undefined;
  return { metadata, deadline, signal, interceptors: [recording(result)] };
}

function recording(result: Result): Interceptor {
  const record = (metadata: Metadata) => {
    for (const [name, value] of Object.entries(metadata.getMap())) {
      if (!name.endsWith("-bin")) result.metadata[name] = String(value);
    }
  };
  return (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, _, start) =>
        start(metadata, {
          onReceiveMetadata: (headers, receive) => (record(headers), receive(headers)),
          onReceiveStatus: (ended, receive) => (record(ended.metadata), receive(ended)),
        }),
    });
}

function unknown(client: RepoServiceClient, settings: CallSettings): Promise<void> {
  const { metadata = new Metadata(), signal: _, ...options } = settings;
  const same = (bytes: Buffer) => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      "/gateway.swr.v1.RepoService/Unknown",
      same,
      same,
      Buffer.alloc(0),
      metadata,
      options,
      (error) => (error ? reject(error) : resolve()),
    );
  });
}

function describe(error: ServiceError, result: Result): void {
  if (typeof error.code !== "number") {
    // The end of a pause that a signal ended, or a fault of the driver's own.
    Object.assign(result, { code: error.name === "AbortError" ? status.CANCELLED : status.UNKNOWN, message: String(error) });
    return;
  }
  const { code, message, reason, domain, metadata, violations, retryDelayMs = 0, requestId, details } = readError(error);
  const retry = BigInt(Math.round(retryDelayMs));
  Object.assign(result, { code, message, reason, domain, errorMetadata: metadata, violations, requestId, details });
  result.retryDelayMs = retry;
}
