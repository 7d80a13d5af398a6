// Programs that run in a sandbox by themselves.
#include <spore/sandbox.h>

#include <algorithm>
#include <csignal>

#include "spore/v1/sandboxes.pb.h"
#include "tools/clients/cpp/link.h"

namespace spore {
inline namespace client_0 {
namespace {

constexpr const char* kSandboxes = "Sandboxes";
constexpr std::chrono::milliseconds kLongestWait{60000};  // of one call

}  // namespace

Result<std::optional<int>> Process::Wait(std::optional<std::chrono::milliseconds> timeout) const {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + timeout.value_or(std::chrono::milliseconds{0});
  v1::WaitExecRequest request;
  request.set_id(sandbox_);
  request.set_exec_id(exec_id_);
  for (;;) {
    auto wait = kLongestWait;
    if (timeout) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
      wait = std::clamp(left, std::chrono::milliseconds{0}, kLongestWait);
    }
    request.set_wait_ms(static_cast<uint32_t>(wait.count()));
    auto state = link_->Call<v1::Execution>(kSandboxes, "WaitExec", request, {}, nullptr, wait);
    if (!state) return tl::unexpected(state.error());
    if (state->state() == v1::Execution::ENDED) return std::optional<int>(state->exit_code());
    if (timeout && Clock::now() >= end) return std::optional<int>();
  }
}

Result<> Process::Signal(int number) const {
  v1::SignalExecRequest request;
  request.set_id(sandbox_);
  request.set_exec_id(exec_id_);
  request.set_signal(number);
  return link_->Call<v1::SignalExecResponse>(kSandboxes, "SignalExec", request)
      .map([](const v1::SignalExecResponse&) {});
}

Result<> Process::Kill() const {
  return Signal(SIGKILL);
}

Result<> Process::Output(const std::function<bool(std::string_view)>& take, bool of_stderr) const {
  v1::ReadExecOutputRequest request;
  request.set_id(sandbox_);
  request.set_exec_id(exec_id_);
  request.set_stderr(of_stderr);
  request.set_wait_ms(static_cast<uint32_t>(kLongestWait.count()));
  for (;;) {
    auto part = link_->Call<v1::ReadExecOutputResponse>(kSandboxes, "ReadExecOutput", request, {},
                                                        nullptr, kLongestWait);
    if (!part) return tl::unexpected(part.error());
    if (!part->data().empty() && !take(part->data())) return {};
    if (part->end()) return {};
    request.set_position(part->position() + part->data().size());
  }
}

}  // namespace client_0
}  // namespace spore
