// Lists repositories: a page of a namespace, or with --all the whole list.
//
// The token is SWR_GATEWAY_TARGET_TOKEN: others see arguments.
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <google/protobuf/util/time_util.h>

#include "gateway.h"

namespace {

using example::swr::Repo;
using std::chrono::system_clock;
using namespace std::chrono_literals;

using Arguments = std::map<std::string, std::string>;

constexpr char kUsage[] =
    "usage: list_repositories [--target ADDRESS] [--namespace NAME] [--all] [--ca FILE [--cert FILE --key FILE]]";

// Reads the command line; nothing where it says something else.
std::optional<Arguments> Read(int argc, char** argv) {
  static const std::set<std::string> with_value{"--target", "--namespace", "--ca", "--cert", "--key"};
  Arguments given{{"--target", "127.0.0.1:50051"}};
  for (int at = 1; at < argc; ++at) {
    const std::string word = argv[at];
    if (word == "--all") {
      given[word] = "";
    } else if (with_value.count(word) > 0 && at + 1 < argc) {
      given[word] = argv[++at];
    } else {
      return std::nullopt;
    }
  }
  return given;
}

std::string Token() {
  const char* token = std::getenv("SWR_GATEWAY_TARGET_TOKEN");
  return token ? token : "";
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(Arguments& given) {
  if (given["--ca"].empty()) return grpc::InsecureChannelCredentials();
  return example::Tls({given["--ca"], given["--cert"], given["--key"]});
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
  request.set_limit(10);
  example::swr::ListReposResponse page;
  const auto context = example::Context(token, system_clock::now() + 10s);
  const grpc::Status status = stub.ListRepos(context.get(), request, &page);
  if (!status.ok()) return status;
  for (const Repo& repo : page.repos()) Print(repo);
  std::cout << page.repos_size() << " of " << page.content_range().total() << '\n';
  return status;
}

grpc::Status ListAll(example::swr::RepoService::Stub& stub, const example::swr::RepoFilter& filter,
                     const std::string& token) {
  example::swr::StreamReposRequest request;
  *request.mutable_filter() = filter;
  const auto deadline = system_clock::now() + 10min;
  return example::ListAll(
      stub, request, [&] { return example::Context(token, deadline); },
      [](const example::swr::StreamReposResponse& message) {
        for (const Repo& repo : message.repos()) Print(repo);
        return true;
      });
}

void Report(const example::Failure& failure) {
  std::cerr << "code " << failure.code << ": " << failure.message << "\nreason: " << failure.info.reason() << '\n';
  for (const auto& violation : failure.bad_request.field_violations()) {
    std::cerr << violation.field() << ": " << violation.description() << '\n';
  }
  if (failure.retry_delay) std::cerr << "try again in " << failure.retry_delay->count() << " ms\n";
  if (!failure.request.request_id().empty()) std::cerr << "request id " << failure.request.request_id() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<Arguments> given = Read(argc, argv);
  if (!given) {
    std::cerr << kUsage << '\n';
    return 2;
  }
  example::swr::RepoFilter filter;
  filter.set_namespace_((*given)["--namespace"]);
  try {
    example::swr::RepoService::Stub stub(example::Connect((*given)["--target"], Credentials(*given)));
    const bool all = given->count("--all") > 0;
    const grpc::Status status = all ? ListAll(stub, filter, Token()) : ListPage(stub, filter, Token());
    if (status.ok()) return 0;
    Report(example::ReadError(status));
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  return 1;
}
