// spore_node.node: what the Node host needs from below. The one file is used twice: LD_PRELOADed,
// so that libsfork sees every thread and signal mask from the program's start, and loaded by
// host.js as an addon (dlopen(3) of a library that is there gives the same one again).
#include <dlfcn.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/read_file.h"
#include "zygote/hosts/common/working_set.h"
#include "zygote/hosts/common/zygote_loop.h"
#include "zygote/hosts/node/napi.h"
#include "zygote/hosts/node/task_files.h"
#include "zygote/hosts/node/time_origin.h"
#include "zygote/hosts/node/utf8.h"
#include "zygote/hosts/node/v8_random.h"

namespace {

using spore::wire::FrameType;

// Of the invocation that is being served, and when its function's loading began.
uint64_t current_id = 0;
uint64_t load_began_ns = 0;

// Found in the zygote, renewed in each child.
spore::V8Random v8_random;
spore::TimeOrigin time_origin;

napi_value Fail(napi_env env, const spore::Error& error) {
  napi_throw_error(env, nullptr, error.Message().c_str());
  return nullptr;
}

napi_value Undefined(napi_env env) {
  napi_value value = nullptr;
  napi_get_undefined(env, &value);
  return value;
}

napi_value Number(napi_env env, uint32_t number) {
  napi_value value = nullptr;
  napi_create_uint32(env, number, &value);
  return value;
}

napi_value Boolean(napi_env env, bool boolean) {
  napi_value value = nullptr;
  napi_get_boolean(env, boolean, &value);
  return value;
}

// Null for bytes that are no UTF-8: a string would have to hide that.
napi_value Text(napi_env env, std::string_view bytes) {
  napi_value value = nullptr;
  if (!spore::IsUtf8(bytes) ||
      napi_create_string_utf8(env, bytes.data(), bytes.size(), &value) != napi_ok) {
    napi_get_null(env, &value);
  }
  return value;
}

double ToDouble(napi_env env, napi_value value) {
  double number = 0;
  napi_get_value_double(env, value, &number);
  return number;
}

std::string ToString(napi_env env, napi_value value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return {};
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, text.data(), length + 1, &length);
  return text;
}

// Exactly `count` arguments; those that were not given are undefined.
template <size_t count>
struct Arguments {
  napi_value value[count] = {};
  Arguments(napi_env env, napi_callback_info info) {
    size_t given = count;
    napi_get_cb_info(env, info, &given, value, nullptr, nullptr);
  }
};

// noteGenerators(): at the start.
napi_value NoteGenerators(napi_env env, napi_callback_info) {
  const spore::Result<> found = v8_random.FindGenerators();
  return found ? Undefined(env) : Fail(env, found.error());
}

// haveDrawn() -> whether a value was drawn from what noteGenerators found.
napi_value HaveDrawn(napi_env env, napi_callback_info) {
  return Boolean(env, v8_random.HaveDrawn());
}

// noteRandom(outputs) -> count: a Float64Array of what Math.random gave last; how often it is to be
// called now, for nothing.
napi_value NoteRandom(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  constexpr int kFloat64Array = 8;
  int type = -1;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, arguments.value[0], &type, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != kFloat64Array) {
    napi_throw_error(env, nullptr, "noteRandom: expected a Float64Array");
    return nullptr;
  }
  const spore::Result<uint32_t> left = v8_random.FindContext({static_cast<double*>(data), length});
  if (!left) return Fail(env, left.error());
  return Number(env, *left);
}

// reseed() -> a number below 65536: mixes fresh entropy into OpenSSL's generator, which does not
// notice that its process was copied with its pid, and gives some of it.
napi_value Reseed(napi_env env, napi_callback_info) {
  std::array<unsigned char, 48> entropy{};
  uint16_t number = 0;
  if (getrandom(entropy.data(), entropy.size(), 0) != static_cast<ssize_t>(entropy.size()) ||
      getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    return Fail(env, spore::SysError("getrandom").value());
  }
  // RAND_add(3): Node's own copy of the library, or the system's.
  using Add = void (*)(const void* data, int size, double entropy_bytes);
  if (const auto add = reinterpret_cast<Add>(dlsym(RTLD_DEFAULT, "RAND_add")); add != nullptr)
    add(entropy.data(), static_cast<int>(entropy.size()), static_cast<double>(entropy.size()));
  return Number(env, number);
}

// The body of an Invoke frame (zygote/protocol.h).
std::string Invocation(const std::string& meta, const std::string& payload) {
  const auto length = static_cast<uint32_t>(meta.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + meta + payload;
}

// serveForks(version, preloadUs, timeOrigin, least, most, least, most, load, meta, payload) -> mode
// or modules; five are TimeOrigin::Find's, the last three texts of what to rehearse with. In the
// zygote it never returns, but throws when there can be no more forks. In a child it returns
// confined, with all threads, its tenant's work waiting. In a copy that is to be a zygote it
// returns what that shall load before it calls this again, a text. Nothing of JavaScript runs in
// between: a collection would wait for threads that are not there.
napi_value ServeForks(napi_env env, napi_callback_info info) {
  const Arguments<10> arguments(env, info);
  spore::wire::ZygoteReady ready;
  snprintf(ready.runtime_version, sizeof ready.runtime_version, "%s",
           ToString(env, arguments.value[0]).c_str());
  ready.preload_us = static_cast<uint64_t>(ToDouble(env, arguments.value[1]));
  if (!v8_random.StillThere()) {
    napi_throw_error(env, nullptr, "V8's random state has moved between note and freeze");
    return nullptr;
  }
  const auto number = [&](size_t i) { return ToDouble(env, arguments.value[i]); };
  const spore::TimeOrigin::Window windows[] = {{number(3), number(4)}, {number(5), number(6)}};
  const spore::Result<> origin = time_origin.Find(number(2), windows);
  if (!origin) return Fail(env, origin.error());
  const spore::ForkOptions options{
      .hooks = {.in_child = [] { v8_random.Renew(); }},
      .threads = true,
      .copies_zygotes = true,
      .rehearsal_load = ToString(env, arguments.value[7]),
      .rehearsal_invoke =
          Invocation(ToString(env, arguments.value[8]), ToString(env, arguments.value[9])),
      .runs_code = true};
  const spore::Result<spore::Copy> copy = spore::ServeOrders(ready, options);
  if (!copy) return Fail(env, copy.error());
  if (const auto* zygote = std::get_if<spore::LibraryZygote>(&*copy))
    return Text(env, zygote->modules);
  const spore::wire::Mode mode = std::get<spore::Unspecialised>(*copy).AwaitTenant();
  time_origin.SetToNow();
  return Number(env, static_cast<uint32_t>(mode));
}

napi_value ReportUnready(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  spore::ReportUnready(ToString(env, arguments.value[0]).c_str());
  return Undefined(env);
}

// receive() -> [type, text] or, of an invocation, [type, meta, payload]; undefined when spored has
// closed the channel. Blocks: between invocations nothing of the tenant's is to run.
napi_value Receive(napi_env env, napi_callback_info) {
  const std::optional<spore::HostFrame> frame = spore::ReadFrame(spore::kInstanceFd);
  if (!frame) return Undefined(env);
  if (frame->type == FrameType::kReportPages) spore::ReportWorkingSet(spore::kInstanceFd);
  current_id = frame->id;
  if (frame->type == FrameType::kLoad) load_began_ns = spore::StepLog::Now();
  spore::InvocationParts parts{frame->body, {}};
  const bool invocation =
      frame->type == FrameType::kInvoke && spore::CutInvocation(frame->body, parts);
  napi_value told = nullptr;
  napi_create_array_with_length(env, invocation ? 3 : 2, &told);
  napi_set_element(env, told, 0, Number(env, static_cast<uint32_t>(frame->type)));
  napi_set_element(env, told, 1, Text(env, parts.meta));
  if (invocation) napi_set_element(env, told, 2, Text(env, parts.event));
  return told;
}

// send(type, text) -> whether it went out. Answers the invocation received last.
napi_value Send(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  uint32_t type = 0;
  napi_get_value_uint32(env, arguments.value[0], &type);
  const std::string body = ToString(env, arguments.value[1]);
  return Boolean(env, spore::WriteFrame(spore::kInstanceFd, static_cast<FrameType>(type),
                                        current_id, body.data(), body.size()));
}

// loaded(imported): tells that the function is loaded, with the first answer: two wake-ups of the
// daemon would cost more than they tell. `imported`: which of the modules asked after are there, a
// JSON array, or nothing.
napi_value Loaded(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  spore::QueueLoaded(load_began_ns, ToString(env, arguments.value[0]));
  return Undefined(env);
}

// lookForModule(base) -> bits, see task_files.h.
napi_value LookForModule(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return Number(env, spore::LookForModule(ToString(env, arguments.value[0])));
}

// readText(path) -> its content, or null.
napi_value ReadText(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::optional<std::string> text = spore::ReadWholeFile(ToString(env, arguments.value[0]));
  if (text) return Text(env, *text);
  napi_value none = nullptr;
  napi_get_null(env, &none);
  return none;
}

napi_value CloseChannel(napi_env env, napi_callback_info) {
  close(spore::kInstanceFd);
  return Undefined(env);
}

// Ends the process at once, without the exit handlers of the C library.
napi_value ExitNow(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  uint32_t code = 1;
  napi_get_value_uint32(env, arguments.value[0], &code);
  _exit(static_cast<int>(code));
}

}  // namespace

// What process.dlopen looks for ("context-aware addons" in Node's documentation).
extern "C" __attribute__((visibility("default"))) napi_value napi_register_module_v1(
    napi_env env, napi_value exports) {
  constexpr struct {
    const char* name;
    napi_callback call;
  } kFunctions[] = {
      {"noteGenerators", NoteGenerators},
      {"haveDrawn", HaveDrawn},
      {"noteRandom", NoteRandom},
      {"reseed", Reseed},
      {"serveForks", ServeForks},
      {"reportUnready", ReportUnready},
      {"receive", Receive},
      {"send", Send},
      {"loaded", Loaded},
      {"lookForModule", LookForModule},
      {"readText", ReadText},
      {"closeChannel", CloseChannel},
      {"exitNow", ExitNow},
  };
  for (const auto& function : kFunctions) {
    napi_value value = nullptr;
    if (napi_create_function(env, function.name, NAPI_AUTO_LENGTH, function.call, nullptr,
                             &value) == napi_ok) {
      napi_set_named_property(env, exports, function.name, value);
    }
  }
  return exports;
}
