// How a program reaches the gateway, reads the whole list, and learns why a call failed.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "gateway/swr/v1/repos.grpc.pb.h"
#include "google/rpc/error_details.pb.h"

namespace example {

namespace swr = gateway::swr::v1;

// PEM files of a TLS connection. Without an authority, those of the system are trusted; without a certificate none is
// shown.
struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;
};

// Reads the files. Throws std::runtime_error where that fails.
std::shared_ptr<grpc::ChannelCredentials> Tls(const TlsFiles& files);

// What a channel to the gateway is set up with: retries, and keepalive. What is set later wins.
grpc::ChannelArguments Arguments();

// Makes a channel: one for all calls of a program. It connects at the first of them.
//
// The target is `host:port` or `unix:/path`. The credentials are those of Tls(), or grpc::InsecureChannelCredentials(),
// which let anyone on the way read the token.
std::shared_ptr<grpc::Channel> Connect(const std::string& target,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                       const grpc::ChannelArguments& arguments = Arguments());

// Makes the context of one call: a context cannot be used again. An empty token is not sent.
std::unique_ptr<grpc::ClientContext> Context(const std::string& token, std::chrono::system_clock::time_point deadline);

// A call that failed. What the gateway did not say is empty.
struct Failure {
  grpc::StatusCode code;
  std::string message;

  // The cause, by a name that programs can compare: docs/errors.md of the gateway lists them.
  google::rpc::ErrorInfo info;

  // The broken rules of the request, all of them.
  google::rpc::BadRequest bad_request;

  // When the gateway deems another try sensible.
  std::optional<std::chrono::milliseconds> retry_delay;

  google::rpc::RequestInfo request;

  // Full names of the details that came, in their order.
  std::vector<std::string> details;
};

Failure ReadError(const grpc::Status& status);

// Reads the whole list, message by message; where the stream breaks, it goes on behind the last one.
//
// `new_context` is asked for each try: where the contexts have a deadline, it should be the same for all.
// `on_message` returns whether to go on; if not, the call is cancelled, and the status is CANCELLED.
// Messages that came before a failure are valid.
grpc::Status ListAll(swr::RepoService::Stub& stub, swr::StreamReposRequest request,
                     const std::function<std::shared_ptr<grpc::ClientContext>()>& new_context,
                     const std::function<bool(const swr::StreamReposResponse&)>& on_message);

}  // namespace example
