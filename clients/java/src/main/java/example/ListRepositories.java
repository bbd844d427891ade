package example;

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
import java.util.concurrent.TimeUnit;

/**
 * Lists repositories: {@code ListRepositories [TARGET [NAMESPACE]]}.
 *
 * <p>The environment says the rest, as for {@code swr-gateway list}: SWR_GATEWAY_TARGET_TOKEN, and
 * for TLS SWR_GATEWAY_TARGET_TLS_CA, and SWR_GATEWAY_TARGET_TLS_CERT with _KEY.
 */
public final class ListRepositories {
  private ListRepositories() {}

  public static void main(String[] args) throws IOException {
    String target = args.length > 0 ? args[0] : "127.0.0.1:50051";
    String namespace = args.length > 1 ? args[1] : "";

    ManagedChannel channel = Gateway.channel(target, credentials()).build();
    RepoServiceBlockingStub stub = Gateway.stub(channel, environment("TOKEN", ""));
    RepoFilter filter = RepoFilter.newBuilder().setNamespace(namespace).build();
    try {
      listPage(stub, filter);
      listAll(stub, filter);
    } catch (StatusRuntimeException e) {
      report(Failure.of(e));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static void listPage(RepoServiceBlockingStub stub, RepoFilter filter) {
    ListReposRequest request =
        ListReposRequest.newBuilder().setFilter(filter).setOffset(0).setLimit(5).build();
    // From now on: a stub that is kept has the deadline that it was given once.
    ListReposResponse page = stub.withDeadlineAfter(10, TimeUnit.SECONDS).listRepos(request);
    page.getReposList().forEach(ListRepositories::print);
    System.out.printf(
        "%d of %d%n", page.getContentRange().getCount(), page.getContentRange().getTotal());
  }

  private static void listAll(RepoServiceBlockingStub stub, RepoFilter filter) {
    StreamReposRequest request = StreamReposRequest.newBuilder().setFilter(filter).build();
    long repositories = 0;
    long bytes = 0;
    try (WholeList list = new WholeList(stub.withDeadlineAfter(5, TimeUnit.MINUTES), request)) {
      while (list.hasNext()) {
        for (Repo repo : list.next().getReposList()) {
          repositories++;
          bytes += repo.getSize();
        }
      }
    }
    System.out.printf("%d repositories of %d bytes in all%n", repositories, bytes);
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
  }

  private static ChannelCredentials credentials() throws IOException {
    String ca = environment("TLS_CA", null);
    String certificate = environment("TLS_CERT", null);
    if (ca == null && certificate == null) {
      return InsecureChannelCredentials.create();
    }
    return Gateway.tls(file(ca), file(certificate), file(environment("TLS_KEY", null)));
  }

  private static File file(String path) {
    return path == null ? null : new File(path);
  }

  private static String environment(String name, String otherwise) {
    return System.getenv().getOrDefault("SWR_GATEWAY_TARGET_" + name, otherwise);
  }
}
