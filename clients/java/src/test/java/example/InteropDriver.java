package example;

import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import dev.swr_gateway.interop.Call;
import dev.swr_gateway.interop.Calls;
import dev.swr_gateway.interop.Command;
import dev.swr_gateway.interop.Connect;
import dev.swr_gateway.interop.Outcome;
import dev.swr_gateway.interop.Result;
import dev.swr_gateway.interop.Violation;
import gateway.swr.v1.ListReposRequest;
import gateway.swr.v1.RepoServiceGrpc;
import gateway.swr.v1.RepoServiceGrpc.RepoServiceBlockingStub;
import gateway.swr.v1.StreamReposResponse;
import io.grpc.ChannelCredentials;
import io.grpc.Context;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/** Does what clients/interop/interop.proto says, by what the example is made of. */
public final class InteropDriver {
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
  private ManagedChannel channel;
  private String token = "";

  private InteropDriver() {}

  public static void main(String[] args) throws Exception {
    InteropDriver driver = new InteropDriver();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      Outcome outcome = driver.run(Command.parseFrom(Base64.getDecoder().decode(line)));
      System.out.println(Base64.getEncoder().encodeToString(outcome.toByteArray()));
    }
    System.exit(0);
  }

  private Outcome run(Command command)
      throws IOException, InterruptedException, ExecutionException {
    if (command.hasConnect()) {
      connect(command.getConnect());
      return Outcome.getDefaultInstance();
    }
    return call(command.getCalls());
  }

  private void connect(Connect how) throws IOException {
    if (channel != null) {
      channel.shutdownNow();
    }
    ManagedChannelBuilder<?> builder = Gateway.channel(how.getTarget(), credentials(how));
    if (how.getMaxReplyBytes() > 0) {
      builder.maxInboundMessageSize(how.getMaxReplyBytes());
    }
    if (how.getEagerKeepalive()) {
      builder.keepAliveTime(1, TimeUnit.SECONDS).keepAliveWithoutCalls(true);
    }
    channel = builder.build();
    token = how.getToken();
  }

  private static ChannelCredentials credentials(Connect how) throws IOException {
    if (how.getCa().isEmpty()) {
      return InsecureChannelCredentials.create();
    }
    if (how.getCertificate().isEmpty()) {
      return Gateway.tls(new File(how.getCa()), null, null);
    }
    return Gateway.tls(
        new File(how.getCa()), new File(how.getCertificate()), new File(how.getKey()));
  }

  private Outcome call(Calls calls) throws InterruptedException, ExecutionException {
    List<Future<Result>> running = new ArrayList<>();
    for (Call call : calls.getCallsList()) {
      running.add(threads.submit(() -> call(call)));
    }
    Outcome.Builder outcome = Outcome.newBuilder();
    for (Future<Result> result : running) {
      outcome.addResults(result.get());
    }
    return outcome.build();
  }

  private Result call(Call call) {
    AtomicReference<Metadata> headers = new AtomicReference<>();
    AtomicReference<Metadata> trailers = new AtomicReference<>();
    RepoServiceBlockingStub stub =
        stub(call)
            .withInterceptors(MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
    Result.Builder result = Result.newBuilder();
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      if (call.getCancelAfterMs() > 0) {
        timer.schedule(
            () -> context.cancel(null), call.getCancelAfterMs(), TimeUnit.MILLISECONDS);
      }
      context.run(() -> send(stub, call, context, result));
    } catch (StatusRuntimeException e) {
      tell(Failure.of(e), result);
    }
    put(headers.get(), result);
    put(trailers.get(), result);
    return result.build();
  }

  private RepoServiceBlockingStub stub(Call call) {
    Metadata more = new Metadata();
    call.getMetadataMap()
        .forEach(
            (name, value) ->
                more.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value));
    RepoServiceBlockingStub stub =
        Gateway.stub(channel, token)
            .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(more));
    if (call.getTimeoutMs() > 0) {
      stub = stub.withDeadlineAfter(Duration.ofMillis(call.getTimeoutMs()));
    }
    if (call.getWaitForReady()) {
      stub = stub.withWaitForReady();
    }
    return call.getGzip() ? stub.withCompression("gzip") : stub;
  }

  private static void send(
      RepoServiceBlockingStub stub,
      Call call,
      Context.CancellableContext context,
      Result.Builder result) {
    switch (call.getRequestCase()) {
      case LIST -> result.addPages(stub.listRepos(call.getList()));
      case STREAM -> read(stub.streamRepos(call.getStream()), call, context, result);
      case LIST_ALL -> {
        try (WholeList list = new WholeList(stub, call.getListAll())) {
          read(list, call, context, result);
        }
      }
      case UNKNOWN -> callUnknown(stub);
      case REQUEST_NOT_SET -> throw new IllegalArgumentException("a call without a request");
    }
  }

  private static void read(
      Iterator<StreamReposResponse> messages,
      Call call,
      Context.CancellableContext context,
      Result.Builder result) {
    while (messages.hasNext()) {
      StreamReposResponse message = messages.next();
      if (context.isCancelled()) {
        continue; // What had arrived already; the status comes behind it.
      }
      result.addMessages(message);
      if (result.getMessagesCount() == call.getCancelAfterMessages()) {
        context.cancel(null);
      }
      pause(call.getPauseMs());
    }
  }

  private static void pause(long milliseconds) {
    try {
      Thread.sleep(milliseconds);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void callUnknown(RepoServiceBlockingStub stub) {
    ClientCalls.blockingUnaryCall(
        stub.getChannel(),
        RepoServiceGrpc.getListReposMethod().toBuilder()
            .setFullMethodName("gateway.swr.v1.RepoService/Unknown")
            .build(),
        stub.getCallOptions(),
        ListReposRequest.getDefaultInstance());
  }

  private static void tell(Failure failure, Result.Builder result) {
    result.setCode(failure.status().getCode().value());
    if (failure.status().getDescription() != null) {
      result.setMessage(failure.status().getDescription());
    }
    result.setReason(failure.reason());
    failure
        .detail(ErrorInfo.class)
        .ifPresent(
            info ->
                result.setDomain(info.getDomain()).putAllErrorMetadata(info.getMetadataMap()));
    failure
        .violations()
        .forEach(
            broken ->
                result.addViolations(
                    Violation.newBuilder()
                        .setField(broken.getField())
                        .setDescription(broken.getDescription())));
    failure.retryDelay().ifPresent(delay -> result.setRetryDelayMs(delay.toMillis()));
    failure
        .detail(RequestInfo.class)
        .ifPresent(info -> result.setRequestId(info.getRequestId()));
    failure.details().forEach(one -> result.addDetails(one.getDescriptorForType().getFullName()));
  }

  private static void put(Metadata metadata, Result.Builder result) {
    if (metadata == null) {
      return;
    }
    for (String name : metadata.keys()) {
      if (!name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
        result.putMetadata(
            name, metadata.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER)));
      }
    }
  }
}
