// Lists repositories: `list_repositories [TARGET [NAMESPACE]]`.
//
// The environment says the rest, as for `swr-gateway list`: SWR_GATEWAY_TARGET_TOKEN, and for TLS
// SWR_GATEWAY_TARGET_TLS_CA, and SWR_GATEWAY_TARGET_TLS_CERT with _KEY.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <string>

#include <google/protobuf/util/time_util.h>

#include "gateway.h"

namespace {

using example::swr::Repo;
using std::chrono::system_clock;
using namespace std::chrono_literals;

std::string Environment(const std::string& name) {
  const char* value = std::getenv(("SWR_GATEWAY_TARGET_" + name).c_str());
  return value ? value : "";
}

std::shared_ptr<grpc::ChannelCredentials> Credentials() {
  const example::TlsFiles files{Environment("TLS_CA"), Environment("TLS_CERT"), Environment("TLS_KEY")};
  if (files.ca.empty() && files.certificate.empty()) return grpc::InsecureChannelCredentials();
  return example::Tls(files);
}

void Print(const Repo& repo) {
  std::cout << repo.namespace_() << '/' << repo.name() << ' ' << repo.size() << " bytes, updated "
            << google::protobuf::util::TimeUtil::ToString(repo.updated_at()) << '\n';
}

grpc::Status ListPage(example::swr::RepoService::Stub& stub, const example::swr::RepoFilter& filter,
                      const std::string& token) {
  example::swr::ListReposRequest request;
  *request.mutable_filter() = filter;
  request.set_offset(0);
  request.set_limit(5);
  example::swr::ListReposResponse page;
  const auto context = example::Context(token, system_clock::now() + 10s);
  const grpc::Status status = stub.ListRepos(context.get(), request, &page);
  if (!status.ok()) return status;
  for (const Repo& repo : page.repos()) Print(repo);
  std::cout << page.content_range().count() << " of " << page.content_range().total() << '\n';
  return status;
}

grpc::Status ListAll(example::swr::RepoService::Stub& stub, const example::swr::RepoFilter& filter,
                     const std::string& token) {
  example::swr::StreamReposRequest request;
  *request.mutable_filter() = filter;
  std::int64_t repositories = 0;
  std::int64_t bytes = 0;
  const auto deadline = system_clock::now() + 5min;
  const grpc::Status status = example::ListAll(
      stub, request, [&] { return example::Context(token, deadline); },
      [&](const example::swr::StreamReposResponse& message) {
        for (const Repo& repo : message.repos()) {
          ++repositories;
          bytes += repo.size();
        }
        return true;
      });
  if (status.ok()) std::cout << repositories << " repositories of " << bytes << " bytes in all\n";
  return status;
}

void Report(const example::Failure& failure) {
  std::cerr << "code " << failure.code << ": " << failure.message << "\nreason: " << failure.info.reason() << '\n';
  for (const auto& violation : failure.bad_request.field_violations()) {
    std::cerr << violation.field() << ": " << violation.description() << '\n';
  }
  if (failure.retry_delay) std::cerr << "try again in " << failure.retry_delay->count() << " ms\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string target = argc > 1 ? argv[1] : "127.0.0.1:50051";
  example::swr::RepoFilter filter;
  if (argc > 2) filter.set_namespace_(argv[2]);
  const std::string token = Environment("TOKEN");
  try {
    example::swr::RepoService::Stub stub(example::Connect(target, Credentials()));
    grpc::Status status = ListPage(stub, filter, token);
    if (status.ok()) status = ListAll(stub, filter, token);
    if (status.ok()) return 0;
    Report(example::ReadError(status));
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  return 1;
}
