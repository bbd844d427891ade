package example;

import com.google.rpc.RequestInfo;
import gateway.swr.v1.ListReposRequest;
import gateway.swr.v1.ListReposResponse;
import gateway.swr.v1.Repo;
import gateway.swr.v1.RepoFilter;
import gateway.swr.v1.RepoServiceGrpc.RepoServiceBlockingStub;
import gateway.swr.v1.StreamReposRequest;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.io.File;
import java.io.IOException;
import java.time.Instant;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * Lists repositories: a page of a namespace, or with {@code --all} the whole list.
 *
 * <p>The token is SWR_GATEWAY_TARGET_TOKEN: others see arguments.
 */
public final class ListRepositories {
  private static final String USAGE =
      "usage: [--target ADDRESS] [--namespace NAME] [--all]"
          + " [--ca FILE [--cert FILE --key FILE]]";
  private static final Set<String> WITH_VALUE =
      Set.of("--target", "--namespace", "--ca", "--cert", "--key");

  private ListRepositories() {}

  public static void main(String[] args) throws IOException {
    Map<String, String> given = read(args);
    String target = given.getOrDefault("--target", "127.0.0.1:50051");
    String token = System.getenv().getOrDefault("SWR_GATEWAY_TARGET_TOKEN", "");

    ManagedChannel channel = Gateway.channel(target, credentials(given)).build();
    RepoServiceBlockingStub stub = Gateway.stub(channel, token);
    RepoFilter filter =
        RepoFilter.newBuilder().setNamespace(given.getOrDefault("--namespace", "")).build();
    try {
      if (given.containsKey("--all")) {
        listAll(stub, filter);
      } else {
        listPage(stub, filter);
      }
    } catch (StatusRuntimeException e) {
      report(Failure.of(e));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static Map<String, String> read(String[] args) {
    Map<String, String> given = new HashMap<>();
    for (Iterator<String> words = List.of(args).iterator(); words.hasNext(); ) {
      String word = words.next();
      if (word.equals("--all")) {
        given.put(word, "");
      } else if (WITH_VALUE.contains(word) && words.hasNext()) {
        given.put(word, words.next());
      } else {
        System.err.println(USAGE);
        System.exit(2);
      }
    }
    return given;
  }

  private static void listPage(RepoServiceBlockingStub stub, RepoFilter filter) {
    ListReposRequest request =
        ListReposRequest.newBuilder().setFilter(filter).setOffset(0).setLimit(10).build();
    // From now on: a stub that is kept has the deadline that it was given once.
    ListReposResponse page = stub.withDeadlineAfter(10, TimeUnit.SECONDS).listRepos(request);
    page.getReposList().forEach(ListRepositories::print);
    System.out.printf("%d of %d%n", page.getReposCount(), page.getContentRange().getTotal());
  }

  private static void listAll(RepoServiceBlockingStub stub, RepoFilter filter) {
    StreamReposRequest request = StreamReposRequest.newBuilder().setFilter(filter).build();
    try (WholeList list = new WholeList(stub.withDeadlineAfter(10, TimeUnit.MINUTES), request)) {
      while (list.hasNext()) {
        list.next().getReposList().forEach(ListRepositories::print);
      }
    }
  }

  private static void print(Repo repo) {
    Instant updated =
        Instant.ofEpochSecond(repo.getUpdatedAt().getSeconds(), repo.getUpdatedAt().getNanos());
    System.out.printf(
        "%s/%s %d bytes, updated %s%n",
        repo.getNamespace(), repo.getName(), repo.getSize(), updated);
  }

  private static void report(Failure failure) {
    System.err.printf(
        "%s: %s%n", failure.status().getCode(), failure.status().getDescription());
    System.err.println("reason: " + failure.reason());
    failure
        .violations()
        .forEach(v -> System.err.printf("%s: %s%n", v.getField(), v.getDescription()));
    failure.retryDelay().ifPresent(wait -> System.err.println("try again in " + wait));
    failure
        .detail(RequestInfo.class)
        .ifPresent(info -> System.err.println("request id " + info.getRequestId()));
  }

  private static ChannelCredentials credentials(Map<String, String> given) throws IOException {
    if (!given.containsKey("--ca")) {
      return InsecureChannelCredentials.create();
    }
    return Gateway.tls(
        new File(given.get("--ca")), file(given.get("--cert")), file(given.get("--key")));
  }

  private static File file(String path) {
    return path == null ? null : new File(path);
  }
}
