// Does what clients/interop/interop.proto says, by what the example is made of.
#include <chrono>
#include <condition_variable>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <absl/strings/escaping.h>
#include <grpcpp/generic/generic_stub.h>

#include "gateway.h"
#include "interop.pb.h"

namespace {

namespace interop = swr_gateway::interop;
namespace swr = example::swr;
using std::chrono::milliseconds;
using std::chrono::system_clock;

// A channel, and what goes with each of its calls.
struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::string token;
};

// One call on its way: the context of each try, all of which can be cancelled from another thread.
class Running {
 public:
  Running(const interop::Call& call, std::string token)
      : call_(call),
        token_(std::move(token)),
        deadline_(call.timeout_ms() > 0 ? system_clock::now() + milliseconds(call.timeout_ms())
                                        : system_clock::time_point::max()) {
    if (call.cancel_after_ms() > 0) timer_ = std::thread([this] { CancelLater(); });
  }

  ~Running() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    if (timer_.joinable()) timer_.join();
  }

  std::shared_ptr<grpc::ClientContext> NewContext() {
    const std::lock_guard<std::mutex> lock(mutex_);
    context_ = example::Context(token_, deadline_);
    for (const auto& [name, value] : call_.metadata()) context_->AddMetadata(name, value);
    if (call_.wait_for_ready()) context_->set_wait_for_ready(true);
    if (call_.gzip()) context_->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    if (cancelled_) context_->TryCancel();
    return context_;
  }

  void Cancel() {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    if (context_) context_->TryCancel();
  }

  const grpc::ClientContext& last_context() const { return *context_; }

 private:
  void CancelLater() {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (changed_.wait_for(lock, milliseconds(call_.cancel_after_ms()), [this] { return over_; })) return;
    }
    Cancel();
  }

  const interop::Call& call_;
  const std::string token_;
  const system_clock::time_point deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<grpc::ClientContext> context_;
  bool cancelled_ = false;
  bool over_ = false;
  std::thread timer_;
};

// Keeps a message, and returns whether the stream is to go on.
bool Keep(const interop::Call& call, const swr::StreamReposResponse& message, interop::Result& result) {
  *result.add_messages() = message;
  if (result.messages_size() == call.cancel_after_messages()) return false;
  std::this_thread::sleep_for(milliseconds(call.pause_ms()));
  return true;
}

grpc::Status Stream(swr::RepoService::Stub& stub, const interop::Call& call, Running& running,
                    interop::Result& result) {
  const auto context = running.NewContext();
  const auto stream = stub.StreamRepos(context.get(), call.stream());
  swr::StreamReposResponse message;
  while (stream->Read(&message)) {
    if (Keep(call, message, result)) continue;
    context->TryCancel();
    break;
  }
  return stream->Finish();
}

grpc::Status CallUnknown(const std::shared_ptr<grpc::Channel>& channel, Running& running) {
  grpc::TemplatedGenericStub<swr::ListReposRequest, swr::ListReposResponse> stub(channel);
  const auto context = running.NewContext();
  const swr::ListReposRequest request;
  swr::ListReposResponse reply;
  std::promise<grpc::Status> status;
  stub.UnaryCall(context.get(), "/gateway.swr.v1.RepoService/Unknown", {}, &request, &reply,
                 [&](grpc::Status how) { status.set_value(std::move(how)); });
  return status.get_future().get();
}

grpc::Status Send(const Connection& connection, const interop::Call& call, Running& running, interop::Result& result) {
  swr::RepoService::Stub stub(connection.channel);
  switch (call.request_case()) {
    case interop::Call::kList: {
      swr::ListReposResponse page;
      const grpc::Status status = stub.ListRepos(running.NewContext().get(), call.list(), &page);
      if (status.ok()) *result.add_pages() = std::move(page);
      return status;
    }
    case interop::Call::kStream:
      return Stream(stub, call, running, result);
    case interop::Call::kListAll:
      return example::ListAll(
          stub, call.list_all(), [&] { return running.NewContext(); },
          [&](const swr::StreamReposResponse& message) { return Keep(call, message, result); });
    default:
      return CallUnknown(connection.channel, running);
  }
}

void Tell(const example::Failure& failure, interop::Result& result) {
  result.set_code(failure.code);
  result.set_message(failure.message);
  result.set_reason(failure.info.reason());
  result.set_domain(failure.info.domain());
  result.mutable_error_metadata()->insert(failure.info.metadata().begin(), failure.info.metadata().end());
  for (const auto& broken : failure.bad_request.field_violations()) {
    interop::Violation& violation = *result.add_violations();
    violation.set_field(broken.field());
    violation.set_description(broken.description());
  }
  if (failure.retry_delay) result.set_retry_delay_ms(failure.retry_delay->count());
  result.set_request_id(failure.request.request_id());
  for (const std::string& name : failure.details) result.add_details(name);
}

void Put(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, interop::Result& result) {
  for (const auto& [name, value] : metadata) {
    if (!name.ends_with("-bin")) (*result.mutable_metadata())[{name.data(), name.size()}].assign(value.data(), value.size());
  }
}

interop::Result Run(const Connection& connection, const interop::Call& call) {
  interop::Result result;
  Running running(call, connection.token);
  const grpc::Status status = Send(connection, call, running, result);
  if (!status.ok()) Tell(example::ReadError(status), result);
  Put(running.last_context().GetServerInitialMetadata(), result);
  Put(running.last_context().GetServerTrailingMetadata(), result);
  return result;
}

Connection Connect(const interop::Connect& how) {
  grpc::ChannelArguments arguments = example::Arguments();
  if (how.max_reply_bytes() > 0) arguments.SetMaxReceiveMessageSize(how.max_reply_bytes());
  if (how.eager_keepalive()) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 1000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  const auto credentials = how.ca().empty() ? grpc::InsecureChannelCredentials()
                                            : example::Tls({how.ca(), how.certificate(), how.key()});
  return {example::Connect(how.target(), credentials, arguments), how.token()};
}

interop::Outcome RunAll(const Connection& connection, const interop::Calls& calls) {
  std::vector<std::future<interop::Result>> running;
  for (const interop::Call& call : calls.calls()) {
    running.push_back(std::async(std::launch::async, [&] { return Run(connection, call); }));
  }
  interop::Outcome outcome;
  for (auto& result : running) *outcome.add_results() = result.get();
  return outcome;
}

}  // namespace

int main() {
  Connection connection;
  for (std::string line; std::getline(std::cin, line);) {
    std::string bytes;
    interop::Command command;
    if (!absl::Base64Unescape(line, &bytes) || !command.ParseFromString(bytes)) {
      std::cerr << "this is no Command: " << line << '\n';
      return 1;
    }
    interop::Outcome outcome;
    if (command.has_connect()) {
      connection = Connect(command.connect());
    } else {
      outcome = RunAll(connection, command.calls());
    }
    std::cout << absl::Base64Escape(outcome.SerializeAsString()) << std::endl;
  }
}
