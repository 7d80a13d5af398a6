// The frames of an instance's socket: writes ours, parses theirs. What comes in is the tenant's and
// is taken for hostile: every length is checked before anything of it is kept, and the parser
// keeps no more than one frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/functions/lambda_environment.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"
#include "zygote/protocol.h"

namespace spore {

struct Frame {
  wire::FrameType type;
  uint64_t id = 0;
  std::string body;
};

// Cuts a byte stream into frames.
class FrameParser {
 public:
  enum class Status {
    kOk,
    kResponseTooLarge,  // a response was announced that is longer than allowed
    kRubbish,           // not the protocol; problem() says what was wrong
  };
  explicit FrameParser(uint64_t response_bytes) : response_bytes_(response_bytes) {}

  // Hands out each frame as it becomes complete. `take` returns false to stop (the parser may then
  // be gone). After anything but kOk no more may be fed.
  Status Feed(std::span<const std::byte> data, const std::function<bool(Frame&)>& take);
  const std::string& problem() const { return problem_; }
  bool mid_frame() const { return header_size_ > 0; }

 private:
  Status CheckHeader();

  uint64_t response_bytes_;
  std::byte header_bytes_[sizeof(wire::FrameHeader)] = {};
  size_t header_size_ = 0;
  wire::FrameHeader header_{};
  std::string body_;
  std::string problem_;
};

// Longest body of kLoaded, and of kFailed and kFatal.
constexpr uint32_t kMaxLoadedBody = 4096;
constexpr uint32_t kMaxFailedBody = 1u << 20;
constexpr uint32_t kMaxCompiledBody = 256u << 10;

// Bodies. Each refuses what does not have the expected shape.
Result<wire::Confined> ParseConfined(std::string_view body);
struct LoadTimes {
  uint64_t began_ns = 0, ended_ns = 0;               // CLOCK_MONOTONIC, as the instance has it
  std::optional<std::vector<std::string>> imported;  // if it says so
};
Result<LoadTimes> ParseLoaded(std::string_view body);
Result<v1::FunctionError> ParseFailed(std::string_view body);

// What spored writes.
std::string CodeFrame(std::string_view compiled);
// What spored asks for with the load of a function.
struct LoadWishes {
  bool compile = false;            // kCompiled
  std::vector<std::string> watch;  // LoadTimes::imported: which of these there are
  bool measure = false;            // what importing takes, in place of an invocation
};
// `instance` is what it is loaded into.
std::string LoadFunctionFrame(const v1::Function& function,
                              const std::map<std::string, std::string>& image_environment,
                              const LambdaInstance& instance, const LoadWishes& wishes);
// Fails when the script is not UTF-8. `archive`: path of one that came in its place; or empty.
Result<std::string> LoadScriptFrame(const v1::RunRequest& run, const std::string& archive,
                                    const std::map<std::string, std::string>& image_environment);
// `path`: of the program that came with the run; empty: args[0] names one of the image.
std::string LoadProgramFrame(const v1::RunRequest& run, const std::string& path,
                             const std::map<std::string, std::string>& image_environment);
struct InvokeMeta {
  std::string request_id;
  int64_t deadline_unix_ms = 0;
  std::string arn;
  std::string client_context;  // JSON, or empty
};
// Fails when client_context is not JSON.
Result<std::string> InvokeFrame(uint64_t id, const InvokeMeta& meta, std::string_view payload);

}  // namespace spore
