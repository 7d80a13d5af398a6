// A function store in a directory of its own, driven synchronously.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/functions/function_store.h"
#include "daemon/loop/event_loop.h"

namespace spore {

constexpr uid_t kUnpackUid = 0x7100fffe;

inline UniqueFd SealedMemfd(const std::string& bytes,
                            int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) {
  UniqueFd fd(memfd_create("archive", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(static_cast<ssize_t>(bytes.size()), write(fd.get(), bytes.data(), bytes.size()));
  EXPECT_EQ(0, fcntl(fd.get(), F_ADD_SEALS, seals));
  return fd;
}

inline v1::Function MakeFunction(const std::string& name,
                                 const std::string& handler = "app.handler") {
  v1::Function function;
  function.set_name(name);
  function.set_owner_uid(1000);
  function.mutable_settings()->set_runtime("python");
  function.mutable_settings()->set_handler(handler);
  *function.mutable_settings()->mutable_limits() = DefaultLimits();
  return function;
}

// The names in a folder; empty when there is none.
inline std::vector<std::string> NamesIn(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

using Version = std::shared_ptr<const FunctionVersion>;

// One run of the daemon's part: loop, lane and store.
class OpenStore {
 public:
  explicit OpenStore(FunctionStore::Options options) {
    auto made = EventLoop::Create({});
    EXPECT_TRUE(made) << made.error().Message();
    loop = std::move(*made);
    lane = std::make_unique<BlockingLane>(*loop);
    options.report = [this](const std::string& line) { reports.push_back(line); };
    auto opened = FunctionStore::Open(*loop, *lane, options);
    EXPECT_TRUE(opened) << opened.error().Message();
    if (opened) store = std::move(*opened);
  }
  ~OpenStore() {
    store.reset();
    lane.reset();
  }
  OpenStore(const OpenStore&) = delete;
  OpenStore& operator=(const OpenStore&) = delete;

  Result<Version> Deploy(const v1::Function& function, UniqueFd archive) {
    return Await<Version>([&](auto done) { store->Deploy(function, std::move(archive), done); });
  }
  Result<Version> Update(const v1::Function& function, UniqueFd archive) {
    return Await<Version>([&](auto done) { store->Update(function, std::move(archive), done); });
  }
  Result<> Remove(const std::string& name) {
    return Await<void>([&](auto done) { store->Remove(name, done); });
  }
  Result<> Change(const std::string& name, FunctionStore::ChangeFacts change) {
    return Await<void>([&](auto done) { store->Change(name, std::move(change), done); });
  }
  // Until every job submitted so far has run.
  void Settle() {
    lane->Submit([] {}, [this] { loop->Stop(); });
    EXPECT_TRUE(loop->Run());
  }

  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<BlockingLane> lane;
  std::unique_ptr<FunctionStore> store;
  std::vector<std::string> reports;

 private:
  template <typename T, typename Start>
  Result<T> Await(Start start) {
    std::optional<Result<T>> answer;
    start([&](Result<T> result) {
      answer.emplace(std::move(result));
      loop->Stop();
    });
    EXPECT_FALSE(answer) << "answered inside the call";
    auto watchdog = loop->AddTimer(std::chrono::seconds(100), [&] { loop->Stop(); });
    EXPECT_TRUE(loop->Run());
    loop->CancelTimer(watchdog);
    if (!answer) return MakeError(ErrorKind::kInternal, "no answer came");
    return std::move(*answer);
  }
};

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(0u, geteuid()) << "this test needs root";
    const char* build = getenv("SPORE_BUILD");
    ASSERT_NE(nullptr, build) << "run it by meson test, or set SPORE_BUILD";
    std::string pattern = "/tmp/spore-store-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(pattern.data()));
    directory_ = pattern;
    options_.state_dir = directory_ / "state";
    options_.unpack_program = std::string(build) + "/daemon/unpack/spore-unpack";
    options_.unpack_uid = kUnpackUid;
  }
  void TearDown() override {
    EXPECT_EQ(std::vector<std::string>{}, NamesIn(directory_ / "state/staging"));
    std::error_code error;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, error);
    EXPECT_FALSE(error) << error.message();
  }
  std::filesystem::path FunctionPath(const std::string& name) const {
    return directory_ / "state/functions" / name;
  }

  std::filesystem::path directory_;
  FunctionStore::Options options_;
};

}  // namespace spore
