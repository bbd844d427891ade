package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.QuotaFailure;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A call that failed.
 *
 * @param status its code, and the message as its description
 * @param trailers the metadata behind it
 * @param details what the gateway says of it beside, in its order; empty where something on the way
 *     failed instead
 */
public record Failure(Status status, Metadata trailers, List<Message> details) {
  private static final List<Class<? extends Message>> KINDS =
      List.of(
          ErrorInfo.class,
          BadRequest.class,
          RetryInfo.class,
          QuotaFailure.class,
          RequestInfo.class);

  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  public static Failure of(StatusRuntimeException e) {
    List<Message> details = new ArrayList<>();
    for (Any packed : StatusProto.fromThrowable(e).getDetailsList()) {
      for (Class<? extends Message> kind : KINDS) {
        if (packed.is(kind)) {
          try {
            details.add(packed.unpack(kind));
          } catch (InvalidProtocolBufferException broken) {
            // The code and the message are still true.
          }
        }
      }
    }
    Metadata trailers = e.getTrailers() == null ? new Metadata() : e.getTrailers();
    return new Failure(e.getStatus(), trailers, details);
  }

  public <T extends Message> Optional<T> detail(Class<T> kind) {
    return details.stream().filter(kind::isInstance).map(kind::cast).findFirst();
  }

  /** The cause, by a name that programs can compare: docs/errors.md of the gateway lists them. */
  public String reason() {
    return detail(ErrorInfo.class).map(ErrorInfo::getReason).orElse("");
  }

  /** The broken rules of the request, all of them. */
  public List<BadRequest.FieldViolation> violations() {
    return detail(BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of());
  }

  /** When the gateway deems another try sensible. */
  public Optional<Duration> retryDelay() {
    return detail(RetryInfo.class)
        .map(RetryInfo::getRetryDelay)
        .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
  }

  /**
   * Whether the same call may be made again: the gateway was not there, the way broke, or the
   * messages were not read for too long. Who cancelled the call knows better.
   */
  public boolean mayRetry() {
    if (trailers.containsKey(PUSHBACK) && trailers.get(PUSHBACK).startsWith("-")) {
      return false;
    }
    String message = String.valueOf(status.getDescription());
    boolean reset = message.startsWith("RST_STREAM closed stream");
    // Without details it was not the gateway's own failure: a server that stops, or a proxy.
    boolean broken = reset || status.getCode() == Status.Code.CANCELLED;
    return status.getCode() == Status.Code.UNAVAILABLE
        || reason().equals("SLOW_READER")
        || (details.isEmpty() && broken);
  }
}
