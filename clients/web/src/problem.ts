// A failed call in words for a person: what is wrong, what to do, and what to quote to who runs the service.
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb";

export interface Violation {
  field: string; // as the request names it: `filter.name`
  description: string;
}

export interface Problem {
  title: string;
  text: string;
  violations: Violation[];
  advice: string;
  reference: string;
}

const TITLES = new Map([
  [Code.InvalidArgument, "This filter cannot be used"],
  [Code.Unauthenticated, "You are not signed in"],
  [Code.PermissionDenied, "You may not see this list"],
  [Code.ResourceExhausted, "Too much is asked for at the moment"],
  [Code.Unavailable, "The service is not available at the moment"],
  [Code.DeadlineExceeded, "No answer came in time"],
]);

export function problemOf(error: unknown): Problem {
  const failure = ConnectError.from(error);
  // Connect has no code for it: where there is no answer at all, fetch throws this.
  const isUnreached = failure.cause instanceof TypeError;
  const [info] = failure.findDetails(ErrorInfoSchema);
  const [request] = failure.findDetails(RequestInfoSchema);
  const violations = failure.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  const references = [
    info && `Reason ${info.reason}`,
    request && `request ${request.requestId}`,
    request?.servingData && `upstream request ${request.servingData}`,
  ];
  return {
    title: isUnreached ? "The service cannot be reached" : (TITLES.get(failure.code) ?? "Something went wrong"),
    text: isUnreached ? "Nothing answers, or the connection was lost." : failure.rawMessage,
    violations: violations.map(({ field, description }) => ({ field, description })),
    advice: adviceOf(failure, isUnreached || failure.code === Code.Unavailable),
    reference: references.filter(Boolean).join(", "),
  };
}

// Says when the service may do better. Where it knows, it said so itself.
function adviceOf(failure: ConnectError, passes: boolean): string {
  const delay = failure.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (!delay) return passes ? "Try again in a moment." : "";
  const seconds = Number(delay.seconds) + Math.ceil(delay.nanos / 1e9);
  return `Try again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
}
