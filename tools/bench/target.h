// The spored that is measured: one that runs already, or one of the benchmark's own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "spore/v1/spore.pb.h"
#include "tools/bench/process.h"
#include "tools/client/connection.h"

namespace spore::bench {

// A private daemon with its own socket, state, cgroup name and uid range; ended with its owner.
class PrivateDaemon {
 public:
  // `images`: a folder of image manifests; empty: where the daemon itself looks. `settings`: more
  // lines of its spore.toml.
  static client::Result<PrivateDaemon> Start(const std::string& program, const std::string& images,
                                             const std::string& settings = {});
  ~PrivateDaemon();
  PrivateDaemon(PrivateDaemon&& other) noexcept
      : folder_(std::move(other.folder_)), pid_(std::exchange(other.pid_, -1)) {}
  PrivateDaemon& operator=(PrivateDaemon&&) = delete;
  std::string socket() const { return folder_.path() + "/spored.sock"; }

 private:
  PrivateDaemon(TemporaryFolder folder, pid_t pid) : folder_(std::move(folder)), pid_(pid) {}
  TemporaryFolder folder_;
  pid_t pid_;
};

// So many are loaded ahead of a function of which any are.
constexpr uint32_t kLoadedAhead = 2;

// The functions that the benchmark deploys on the daemon, removed with this.
class Functions {
 public:
  static client::Result<Functions> Deploy(const std::string& socket);
  ~Functions();
  Functions(Functions&& other) noexcept
      : socket_(std::move(other.socket_)),
        stem_(std::move(other.stem_)),
        names_(std::exchange(other.names_, {})) {}
  Functions& operator=(Functions&&) = delete;

  const std::string& fresh() const { return names_[0]; }   // isolation: invocation
  const std::string& reused() const { return names_[1]; }  // isolation: instance
  const std::string& held() const { return names_[2]; }    // sleeps as many ms as its event says
  const std::string& ahead() const { return names_[3]; }   // as fresh(), loaded ahead

  // Deploys one more, in a fresh sandbox for each invocation, of which so many are loaded ahead;
  // its name.
  client::Result<std::string> Add(const std::string& runtime, const std::string& handler,
                                  const std::string& folder, uint32_t loaded_ahead = 0);

 private:
  explicit Functions(std::string socket);
  std::string socket_;
  std::string stem_;
  std::vector<std::string> names_;
};

// One request and its answer; the function's failure is an error. Times in microseconds.
client::Result<double> TimeInvoke(client::Connection& connection, const std::string& function,
                                  const std::string& payload, v1::StartKind expected);
// The same in a fresh sandbox that had the function loaded; waits until there is one.
client::Result<double> TimeLoadedAhead(client::Connection& connection, const std::string& function,
                                       const std::string& payload);
// A whole script, `pass`, from the request to the news of its end.
client::Result<double> TimeRun(client::Connection& connection, int null_fd);

}  // namespace spore::bench
