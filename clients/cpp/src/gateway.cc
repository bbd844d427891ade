#include "gateway.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <thread>

#include "google/rpc/status.pb.h"
#include "service_config.h"

namespace example {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxTries = 4;
constexpr milliseconds kMaxWait{30'000};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whether the same call may be made again: the gateway was not there, the way broke, or the messages were not read for
// too long. A bare CANCELLED of a server that stops cannot be told from a TryCancel of the caller's, who wants no more.
bool MayRetry(const Failure& failure, const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto pushback = trailers.find("grpc-retry-pushback-ms");
  if (pushback != trailers.end() && pushback->second.starts_with("-")) return false;
  const bool reset = failure.details.empty() && failure.message.find("RST_STREAM") != std::string::npos;
  return failure.code == grpc::StatusCode::UNAVAILABLE || failure.info.reason() == "SLOW_READER" || reset;
}

milliseconds Backoff(int tries) {
  thread_local std::mt19937 random{std::random_device{}()};
  return milliseconds(std::uniform_int_distribution<int>(100, 300 * tries)(random));
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> Tls(const TlsFiles& files) {
  grpc::SslCredentialsOptions options;
  if (!files.ca.empty()) options.pem_root_certs = ReadFile(files.ca);
  if (!files.certificate.empty()) {
    options.pem_cert_chain = ReadFile(files.certificate);
    options.pem_private_key = ReadFile(files.key);
  }
  return grpc::SslCredentials(options);
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  // The gateway allows a ping every 5 seconds, other servers one in 5 minutes.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  return arguments;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& target,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                       const grpc::ChannelArguments& arguments) {
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

std::unique_ptr<grpc::ClientContext> Context(const std::string& token,
                                             std::chrono::system_clock::time_point deadline) {
  auto context = std::make_unique<grpc::ClientContext>();
  if (!token.empty()) context->AddMetadata("x-auth-token", token);
  context->set_deadline(deadline);
  return context;
}

Failure ReadError(const grpc::Status& status) {
  Failure failure{status.error_code(), status.error_message(), {}, {}, {}, {}, {}};
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return failure;
  for (const google::protobuf::Any& detail : rich.details()) {
    failure.details.push_back(detail.type_url().substr(detail.type_url().rfind('/') + 1));
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&retry)) {
      failure.retry_delay = milliseconds(retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1'000'000);
    }
    // Each does nothing where the detail is of another kind.
    detail.UnpackTo(&failure.info);
    detail.UnpackTo(&failure.bad_request);
    detail.UnpackTo(&failure.request);
  }
  return failure;
}

grpc::Status ListAll(swr::RepoService::Stub& stub, swr::StreamReposRequest request,
                     const std::function<std::shared_ptr<grpc::ClientContext>()>& new_context,
                     const std::function<bool(const swr::StreamReposResponse&)>& on_message) {
  int tries = 0;  // in a row that led no further
  while (true) {
    const auto context = new_context();
    const auto stream = stub.StreamRepos(context.get(), request);
    ++tries;
    swr::StreamReposResponse message;
    while (stream->Read(&message)) {
      if (message.next_offset() > request.start_offset()) {
        request.set_start_offset(message.next_offset());
        tries = 0;
      }
      if (!on_message(message)) {
        context->TryCancel();
        return stream->Finish();
      }
    }
    const grpc::Status status = stream->Finish();
    if (status.ok()) return status;
    const Failure failure = ReadError(status);
    const milliseconds wait = failure.retry_delay.value_or(Backoff(tries + 1));
    const bool in_time = wait <= kMaxWait && std::chrono::system_clock::now() + wait < context->deadline();
    if (!MayRetry(failure, *context) || tries == kMaxTries || !in_time) return status;
    std::this_thread::sleep_for(wait);
  }
}

}  // namespace example
