package example;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import gateway.swr.v1.RepoServiceGrpc;
import gateway.swr.v1.RepoServiceGrpc.RepoServiceBlockingStub;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** How a program reaches the gateway. */
public final class Gateway {
  private static final Metadata.Key<String> TOKEN =
      Metadata.Key.of("x-auth-token", Metadata.ASCII_STRING_MARSHALLER);

  private Gateway() {}

  /**
   * Prepares a channel: one for all calls of a program. It connects at the first of them.
   *
   * @param target {@code host:port} or {@code unix:/path}
   * @param credentials of {@link #tls}, or {@code InsecureChannelCredentials.create()}, which lets
   *     anyone on the way read the token
   */
  public static ManagedChannelBuilder<?> channel(String target, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(target, credentials)
        .defaultServiceConfig(serviceConfig())
        // The gateway allows a ping every 5 seconds, other servers one in 5 minutes.
        .keepAliveTime(60, TimeUnit.SECONDS)
        .keepAliveTimeout(20, TimeUnit.SECONDS);
  }

  /**
   * Reads what TLS needs from PEM files.
   *
   * @param ca the authority that the gateway's certificate is verified against; null trusts those
   *     that come with Java
   * @param certificate to show to the gateway; null shows none
   * @param key the certificate's key, in PKCS #8
   */
  public static ChannelCredentials tls(File ca, File certificate, File key) throws IOException {
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    if (ca != null) {
      tls.trustManager(ca);
    }
    if (certificate != null) {
      tls.keyManager(certificate, key);
    }
    return tls.build();
  }

  /** Returns a stub whose calls carry the upstream's token; an empty one is not sent. */
  public static RepoServiceBlockingStub stub(Channel channel, String token) {
    RepoServiceBlockingStub stub = RepoServiceGrpc.newBlockingStub(channel);
    if (token.isEmpty()) {
      return stub;
    }
    Metadata headers = new Metadata();
    headers.put(TOKEN, token);
    return stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
  }

  /** Reads the published retries. */
  private static Map<String, ?> serviceConfig() {
    try (InputStream json = Gateway.class.getResourceAsStream("/service-config.json")) {
      return new Gson()
          .fromJson(
              new InputStreamReader(json, StandardCharsets.UTF_8),
              new TypeToken<Map<String, ?>>() {});
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
