// spore checkpoint export and import.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "spore/v1/checkpoints.pb.h"
#include "tools/spore/checkpoint.h"
#include "tools/spore/output.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.CheckpointTransfer";
constexpr size_t kChunk = 1u << 20;

std::string Because(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

Expected<bool> Write(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(kFunctionFailed, Because("write " + name));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

Expected<bool> CopyArchive(int from, uint64_t bytes, int to, const std::string& name) {
  std::vector<char> buffer(kChunk);
  for (uint64_t left = bytes; left > 0;) {
    const ssize_t n = ::read(from, buffer.data(), std::min<uint64_t>(buffer.size(), left));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(kFunctionFailed, Because("read the checkpoint's archive"));
    if (n == 0) return Fail(kFunctionFailed, "the checkpoint's archive ends too early");
    if (auto written = Write(to, {buffer.data(), static_cast<size_t>(n)}, name); !written)
      return written;
    left -= static_cast<uint64_t>(n);
  }
  return true;
}

// A file that is there under its name only when it is whole. "-" is standard output.
class ExportTarget {
 public:
  static Expected<ExportTarget> Open(const std::string& name) {
    ExportTarget target;
    target.name_ = name;
    if (name == "-") {
      if (::isatty(STDOUT_FILENO) == 1)
        return Fail(kUsage, "standard output is a terminal: give -o FILE");
      return target;
    }
    target.partial_ = name + ".partial";
    target.file_ = client::Fd(::open(target.partial_.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!target.file_.valid()) return Fail(kUsage, Because("create " + target.partial_));
    return target;
  }
  ExportTarget(ExportTarget&& other) noexcept = default;
  ExportTarget& operator=(ExportTarget&&) = delete;
  ~ExportTarget() {
    if (file_.valid()) ::unlink(partial_.c_str());
  }

  int fd() const { return file_.valid() ? file_.get() : STDOUT_FILENO; }
  Expected<bool> Finish() {
    if (!file_.valid()) return true;
    if (::fsync(file_.get()) != 0 || ::rename(partial_.c_str(), name_.c_str()) != 0)
      return Fail(kFunctionFailed, Because("write " + name_));
    file_ = client::Fd();
    return true;
  }

 private:
  ExportTarget() = default;
  std::string name_, partial_;
  client::Fd file_;
};

Outcome Export(const Context& context, const std::string& id, const std::string& output) {
  auto target = ExportTarget::Open(output);
  if (!target) return tl::unexpected(target.error());
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  v1::ExportCheckpointRequest request;
  request.set_id(id);
  auto sent = connection->Send(kService, "Export", request, {});
  if (!sent) return tl::unexpected(Explain(sent.error(), context.socket));
  auto reply = connection->Receive();
  if (!reply) return tl::unexpected(Explain(reply.error(), context.socket));
  auto response = client::Connection::Parse<v1::ExportCheckpointResponse>(*reply);
  if (!response) return tl::unexpected(Explain(response.error(), context.socket));
  if (reply->fds.size() != 1) return Fail(kRefused, "spored sent no archive");
  if (auto written = Write(target->fd(), response->head(), output); !written)
    return tl::unexpected(written.error());
  if (auto copied =
          CopyArchive(reply->fds[0].get(), response->archive_bytes(), target->fd(), output);
      !copied)
    return tl::unexpected(copied.error());
  if (auto finished = target->Finish(); !finished) return tl::unexpected(finished.error());
  return kDone;
}

Outcome Import(const Context& context, const std::string& name, bool force) {
  client::Fd file;
  if (name != "-") {
    file = client::Fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return Fail(kUsage, Because("open " + name));
  }
  v1::ImportCheckpointRequest request;
  request.set_keep_unusable(force);
  auto response = CallDaemon<v1::ImportCheckpointResponse>(
      context, kService, "Import", request, {file.valid() ? file.get() : STDIN_FILENO});
  if (!response) return tl::unexpected(response.error());
  const v1::Checkpoint& checkpoint = response->checkpoint();
  PrintOne(context.json, checkpoint, checkpoint.id());
  if (!checkpoint.unusable().empty()) {
    fmt::print(stderr, "spore: kept, but it cannot be restored here: {}\n",
               ForTerminal(checkpoint.unusable(), STDERR_FILENO));
  }
  return kDone;
}

}  // namespace

void AddCheckpointTransfer(CLI::App& checkpoint, Context& context) {
  CLI::App* out =
      AddCommand(checkpoint, context, "export", "Write a checkpoint to one file, for another host");
  auto id = std::make_shared<std::string>();
  auto output = std::make_shared<std::string>("-");
  out->add_option("ID", *id, "A checkpoint")->required();
  out->add_option("-o,--output", *output, "File to write; -, the default, is standard output")
      ->type_name("FILE");
  out->callback([&context, id, output] {
    context.command = [&context, id, output] { return Export(context, *id, *output); };
  });

  CLI::App* in =
      AddCommand(checkpoint, context, "import", "Keep a checkpoint that another host has exported");
  auto name = std::make_shared<std::string>();
  auto force = std::make_shared<bool>(false);
  in->add_option("FILE", *name, "What export wrote; - is standard input")->required();
  in->add_flag("--force", *force, "Also when it cannot be restored here");
  in->callback([&context, name, force] {
    context.command = [&context, name, force] { return Import(context, *name, *force); };
  });
}

}  // namespace spore::cli
