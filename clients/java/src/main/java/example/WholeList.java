package example;

import gateway.swr.v1.RepoServiceGrpc.RepoServiceBlockingStub;
import gateway.swr.v1.StreamReposRequest;
import gateway.swr.v1.StreamReposResponse;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * The whole list, message by message: where the stream breaks it goes on behind the last one.
 *
 * <p>Closing it before its end cancels the call, which would go on otherwise.
 */
public final class WholeList implements Iterator<StreamReposResponse>, AutoCloseable {
  private static final int MAX_TRIES = 4;
  private static final Duration MAX_WAIT = Duration.ofSeconds(30);

  private final Context.CancellableContext context = Context.current().withCancellation();
  private final RepoServiceBlockingStub stub;
  private final StreamReposRequest.Builder request;
  private Iterator<StreamReposResponse> messages;
  private int tries = 1; // in a row that led no further

  /**
   * Begins to list.
   *
   * @param stub where it has a deadline, that is the time of all, resumes included
   */
  public WholeList(RepoServiceBlockingStub stub, StreamReposRequest request) {
    this.stub = stub;
    this.request = request.toBuilder();
    messages = open();
  }

  /**
   * Waits for the next message.
   *
   * @throws StatusRuntimeException if the stream failed, and another try does not help; what came
   *     before is valid
   */
  @Override
  public boolean hasNext() {
    while (true) {
      try {
        return messages.hasNext();
      } catch (StatusRuntimeException e) {
        waitBeforeResume(e);
        messages = open();
        tries++;
      }
    }
  }

  @Override
  public StreamReposResponse next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    StreamReposResponse message = messages.next();
    if (message.getNextOffset() > request.getStartOffset()) {
      request.setStartOffset(message.getNextOffset());
      tries = 1;
    }
    return message;
  }

  @Override
  public void close() {
    context.close();
  }

  private Iterator<StreamReposResponse> open() {
    Context outer = context.attach();
    try {
      return stub.streamRepos(request.build());
    } finally {
      context.detach(outer);
    }
  }

  private void waitBeforeResume(StatusRuntimeException e) {
    Failure failure = Failure.of(e);
    Duration backoff = Duration.ofMillis(ThreadLocalRandom.current().nextLong(100, 300L * tries));
    Duration wait = failure.retryDelay().orElse(backoff);
    boolean isEnough = context.isCancelled() || tries == MAX_TRIES;
    if (isEnough || !failure.mayRetry() || wait.compareTo(MAX_WAIT) > 0) {
      throw e;
    }
    Deadline deadline = stub.getCallOptions().getDeadline();
    if (deadline != null && deadline.timeRemaining(TimeUnit.MILLISECONDS) <= wait.toMillis()) {
      throw e;
    }
    try {
      Thread.sleep(wait.toMillis());
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw e;
    }
  }
}
