// An agent's afternoon in C++: a function is deployed and called, then a sandbox is worked in.
//
//   c++ -std=c++17 -o agent agent.cc $(pkg-config --cflags --libs spore-client)
//   ./agent examples/hello
#include <spore/client.h>
#include <spore/sandbox.h>

#include <cstdio>
#include <string>

namespace {

using spore::Result;

Result<> CallFunction(const spore::Client& client, const std::string& code) {
  spore::DeployOptions options;
  options.handler = "app.handler";
  options.limits.memory = 64 << 20;
  auto function = client.Deploy("agent-hello", code, options);
  if (!function) return tl::unexpected(function.error());
  std::printf("deployed %s, version %llu\n", function->name.c_str(),
              static_cast<unsigned long long>(function->version));
  const auto answer = client.InvokeForResult("agent-hello", R"({"name": "ada"})");
  const auto removed = client.Remove("agent-hello");
  if (!answer) return tl::unexpected(answer.error());
  std::printf("%s (%s start, %lld us)\n", answer->value.c_str(), answer->start_kind.c_str(),
              static_cast<long long>(answer->duration.count()));
  return removed;
}

Result<> WorkInSandbox(const spore::Client& client) {
  spore::SandboxOptions options;
  options.ttl = std::chrono::minutes(5);
  auto box = spore::Sandbox::Create(client, options);  // it ends with this function
  if (!box) return tl::unexpected(box.error());

  auto written = box->WriteFile("/tmp/numbers.txt", "1\n2\n3\n");
  if (!written) return written;
  auto loaded = box->RunCode("numbers = [int(n) for n in open('/tmp/numbers.txt')]");
  if (!loaded) return tl::unexpected(loaded.error());
  auto sum = box->RunCode("sum(numbers)");  // what was defined is still there
  if (!sum) return tl::unexpected(sum.error());
  std::printf("sum %s\n", sum->value.value_or("nothing").c_str());

  auto mistake = box->RunCode("1 / 0");
  if (mistake || mistake.error().kind != spore::ErrorKind::kCodeFailed) {
    std::puts("1 / 0 should have failed");
  } else {
    std::printf("as expected: %s\n", mistake.error().message.c_str());
  }

  spore::ExecOptions check;
  check.check = true;
  auto listing = box->Exec({"ls", "/tmp"}, check);
  if (!listing) return tl::unexpected(listing.error());
  std::printf("%s", listing->out.c_str());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER-OF-A-FUNCTION\n", argv[0]);
    return 2;
  }
  const auto client = spore::Client::Open();
  if (!client) {
    std::fprintf(stderr, "agent: %s\n", client.error().message.c_str());
    return 3;
  }
  auto done = CallFunction(*client, argv[1]);
  if (done) done = WorkInSandbox(*client);
  if (!done) {
    std::fprintf(stderr, "agent: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
