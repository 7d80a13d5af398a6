#include "tools/spore/settings.h"

#include <functional>

#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kSizeForm = "a size above 0 such as 64K, 128M or 1.5G";
constexpr const char* kDurationForm = "a time above 0 such as 250ms, 30s, 5m or 1h";

CLI::ValidationError Wrong(const std::string& option, const std::string& value,
                           const std::string& expected) {
  return CLI::ValidationError(option, "'" + value + "' is not " + expected);
}

// In the protocol 0 means "not given", so none of these takes it.
void AddSize(CLI::App& command, const std::string& name, std::function<void(uint64_t)> set,
             const std::string& description) {
  command
      .add_option_function<std::string>(
          name,
          [name, set](const std::string& text) {
            const auto value = ParseSize(text);
            if (!value || *value == 0) throw Wrong(name, text, kSizeForm);
            set(*value);
          },
          description)
      ->type_name("SIZE");
}

void AddCount(CLI::App& command, const std::string& name, std::function<void(uint32_t)> set,
              const std::string& description) {
  command.add_option_function<uint32_t>(name, set, description)
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""))
      ->type_name("N");
}

}  // namespace

void AddDuration(CLI::App& command, const std::string& name, std::function<void(uint64_t)> set,
                 const std::string& description) {
  command
      .add_option_function<std::string>(
          name,
          [name, set](const std::string& text) {
            const auto value = ParseDuration(text);
            if (!value || *value == 0) throw Wrong(name, text, kDurationForm);
            set(*value);
          },
          description)
      ->type_name("TIME");
}

void AddSandboxLimitOptions(CLI::App& command, v1::Limits& limits) {
  AddSize(
      command, "--memory", [&limits](uint64_t v) { limits.set_memory_bytes(v); },
      "Memory limit (default 128M)");
  command
      .add_option_function<std::string>(
          "--cpus",
          [&limits](const std::string& text) {
            const auto millis = ParseCpus(text);
            if (!millis || *millis == 0) {
              throw Wrong("--cpus", text, "a number of CPUs such as 0.5 or 2 (at least 0.001)");
            }
            limits.set_cpu_millis(*millis);
          },
          "CPUs it may use at once (default 1)")
      ->type_name("CPUS");
  AddCount(
      command, "--pids", [&limits](uint32_t v) { limits.set_pids(v); },
      "Processes and threads (default 64)");
  AddSize(
      command, "--tmp", [&limits](uint64_t v) { limits.set_tmp_bytes(v); },
      "Room in /tmp and /dev/shm (default 64M)");
  AddCount(
      command, "--open-files", [&limits](uint32_t v) { limits.set_open_files(v); },
      "Open files a process (default 1024)");
}

void AddLimitOptions(CLI::App& command, v1::Limits& limits) {
  AddSandboxLimitOptions(command, limits);
  AddDuration(
      command, "--timeout", [&limits](uint64_t v) { limits.set_timeout_ms(v); },
      "Wall-clock time (default 30s)");
}

void AddFunctionLimitOptions(CLI::App& command, v1::Limits& limits) {
  AddSize(
      command, "--payload-limit", [&limits](uint64_t v) { limits.set_payload_bytes(v); },
      "Largest request (default 6M)");
  AddSize(
      command, "--response-limit", [&limits](uint64_t v) { limits.set_response_bytes(v); },
      "Largest response (default 6M)");
  AddSize(
      command, "--output-limit", [&limits](uint64_t v) { limits.set_output_bytes(v); },
      "Output kept of one invocation (default 1M)");
  AddCount(
      command, "--max-instances", [&limits](uint32_t v) { limits.set_max_instances(v); },
      "Instances at once (default 100)");
  AddDuration(
      command, "--idle-timeout", [&limits](uint64_t v) { limits.set_idle_ms(v); },
      "End an idle instance after this (default 60s)");
}

void AddSettingsOptions(CLI::App& command, v1::FunctionSettings& settings) {
  command
      .add_option("--runtime", *settings.mutable_runtime(),
                  "Language runtime: python, node, java, native, provided")
      ->type_name("NAME");
  command
      .add_option("--image", *settings.mutable_image(), "Image (default: named like the runtime)")
      ->type_name("NAME");
  command
      .add_option("--libraries", *settings.mutable_libraries(),
                  "Library set of the image to start from; none; or auto: what fits (default)")
      ->type_name("SET");
  command.add_option("--handler", *settings.mutable_handler(), "What to call: MODULE.FUNCTION")
      ->type_name("NAME");
  command
      .add_option_function<std::string>(
          "--isolation",
          [&settings](const std::string& value) {
            settings.set_isolation(value == "invocation" ? v1::ISOLATION_INVOCATION
                                                         : v1::ISOLATION_INSTANCE);
          },
          "invocation: a fresh sandbox each time; instance: reuse one until idle (default)")
      ->check(CLI::IsMember({"invocation", "instance"}).description(""))
      ->type_name("invocation|instance");
  command
      .add_option_function<uint32_t>(
          "--min-instances", [&settings](uint32_t v) { settings.set_min_instances(v); },
          "Instances kept ready, the function loaded in them (default 0)")
      ->type_name("N");
  command
      .add_option_function<std::string>(
          "--description", [&settings](const std::string& v) { settings.set_description(v); },
          "What it is for: up to 256 characters")
      ->type_name("TEXT");
  AddLimitOptions(command, *settings.mutable_limits());
  AddFunctionLimitOptions(command, *settings.mutable_limits());
  AddEnvironmentOption(command, *settings.mutable_environment());
}

void AddEnvironmentOption(CLI::App& command, google::protobuf::Map<std::string, std::string>& map) {
  command
      .add_option_function<std::vector<std::string>>(
          "--env",
          [&map](const std::vector<std::string>& values) {
            for (const std::string& value : values) {
              const std::size_t equals = value.find('=');
              if (equals == 0 || equals == std::string::npos) {
                throw Wrong("--env", value, "of the form NAME=VALUE");
              }
              map[value.substr(0, equals)] = value.substr(equals + 1);
            }
          },
          "Environment variable; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

}  // namespace spore::cli
