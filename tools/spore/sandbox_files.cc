// spore sandbox ls (of files), read, write, rm, mkdir, stat, mv and watch.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tools/client/memfd.h"
#include "tools/spore/output.h"
#include "tools/spore/sandbox.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr uint32_t kWaitMs = 60000;

char KindLetter(v1::FileInfo::Kind kind) {
  switch (kind) {
    case v1::FileInfo::DIRECTORY:
      return 'd';
    case v1::FileInfo::SYMLINK:
      return 'l';
    case v1::FileInfo::FILE:
      return '-';
    default:
      return '?';
  }
}

std::string ModeText(const v1::FileInfo& file) {
  std::string text(1, KindLetter(file.kind()));
  for (int bit = 8; bit >= 0; --bit) text += (file.mode() >> bit & 1) != 0 ? "xwr"[bit % 3] : '-';
  return text;
}

nlohmann::ordered_json FileJson(const v1::FileInfo& file) {
  nlohmann::ordered_json object = ToJson(file);
  object["path"] = TextJson(file.path());
  object["target"] = TextJson(file.target());
  return object;
}

void AddRow(Table& table, const v1::FileInfo& file) {
  std::string name = Visible(file.path());
  if (file.kind() == v1::FileInfo::SYMLINK) name += " -> " + Visible(file.target());
  table.Add({ModeText(file), fmt::format("{}", file.size()),
             HumanTime(file.modified_unix_ns() / 1'000'000), name});
}

// The request names the place.
template <typename Request>
Expected<client::Connection> Open(const Context& context, const std::string& place,
                                  Request& request) {
  const auto path = ParseSandboxPath(place);
  if (!path) return tl::unexpected(path.error());
  request.set_id(path->id);
  request.set_path(path->path);
  return context.Connect();
}

Outcome Read(const Context& context, const std::string& place) {
  v1::ReadFileRequest request;
  auto connection = Open(context, place, request);
  if (!connection) return tl::unexpected(connection.error());
  for (;;) {
    auto response = CallSandbox<v1::ReadFileResponse>(context, *connection, "ReadFile", request);
    if (!response) return tl::unexpected(response.error());
    const auto written = client::WriteAll(STDOUT_FILENO, response->data(), "output");
    if (!written) return Fail(kRefused, written.error().message);
    request.set_offset(request.offset() + response->data().size());
    if (response->end() || response->data().empty()) return kDone;
  }
}

// Of standard input.
Outcome Write(const Context& context, const std::string& place, bool append, uint32_t mode) {
  v1::WriteFileRequest request;
  auto connection = Open(context, place, request);
  if (!connection) return tl::unexpected(connection.error());
  request.set_create(true);
  request.set_truncate(!append);
  request.set_append(append);
  request.set_mode(mode);
  bool first = true;
  for (std::string data;; first = false) {
    data.resize(kChunk);
    std::size_t got = 0;
    while (got < data.size()) {
      const ssize_t part = ::read(STDIN_FILENO, data.data() + got, data.size() - got);
      if (part < 0)
        return Fail(kRefused, std::string("cannot read stdin: ") + std::strerror(errno));
      if (part == 0) break;
      got += static_cast<std::size_t>(part);
    }
    data.resize(got);
    if (got == 0 && !first) return kDone;
    request.set_data(data);
    auto response = CallSandbox<v1::WriteFileResponse>(context, *connection, "WriteFile", request);
    if (!response) return tl::unexpected(response.error());
    request.set_truncate(false);
    request.set_offset(request.offset() + got);
    if (got < kChunk) return kDone;
  }
}

Outcome Stat(const Context& context, const std::string& place) {
  v1::StatFileRequest request;
  auto connection = Open(context, place, request);
  if (!connection) return tl::unexpected(connection.error());
  auto file = CallSandbox<v1::FileInfo>(context, *connection, "StatFile", request);
  if (!file) return tl::unexpected(file.error());
  if (context.json) {
    PrintJson(FileJson(*file));
    return kDone;
  }
  PrintPairs({{"Path", Visible(file->path())},
              {"Mode", fmt::format("{} ({:o})", ModeText(*file), file->mode())},
              {"Size", fmt::format("{}", file->size())},
              {"Modified", HumanTime(file->modified_unix_ns() / 1'000'000)},
              {"Target", Visible(file->target())},
              {"Links", fmt::format("{}", file->links())},
              {"Inode", fmt::format("{}", file->inode())}});
  return kDone;
}

const char* ChangeName(v1::FileEvent::Kind kind) {
  switch (kind) {
    case v1::FileEvent::CREATED:
      return "created";
    case v1::FileEvent::REMOVED:
      return "removed";
    default:
      return "changed";
  }
}

Outcome Watch(const Context& context, const std::string& place, bool recursive) {
  v1::WatchFilesRequest request;
  auto connection = Open(context, place, request);
  if (!connection) return tl::unexpected(connection.error());
  request.set_recursive(recursive);
  for (;;) {
    auto response =
        CallSandbox<v1::WatchFilesResponse>(context, *connection, "WatchFiles", request);
    if (!response) return tl::unexpected(response.error());
    if (response->overflow() && request.watch() == 0)
      fmt::print(stderr, "spore: more than 4096 files lie there; not all are watched\n");
    for (const v1::FileEvent& event : response->events()) {
      if (context.json) {
        nlohmann::ordered_json object;
        object["kind"] = ChangeName(event.kind());
        object["path"] = TextJson(event.path());
        fmt::print("{}\n", JsonText(object, -1));
      } else {
        fmt::print("{} {}\n", ChangeName(event.kind()), Visible(event.path()));
      }
    }
    if (std::fflush(stdout) != 0) return kDone;
    request.set_watch(response->watch());
    request.set_wait_ms(kWaitMs);
  }
}

// One call for each ID:/PATH, in order.
template <typename Request, typename Response>
Outcome ForEachPath(const Context& context, const std::vector<std::string>& places,
                    const char* method, Request request) {
  for (const std::string& place : places) {
    auto path = ParseSandboxPath(place);
    if (!path) return tl::unexpected(path.error());
    request.set_id(path->id);
    request.set_path(path->path);
    auto response = CallDaemon<Response>(context, kSandboxes, method, request);
    if (!response) return tl::unexpected(response.error());
  }
  return kDone;
}

Outcome Move(const Context& context, const std::string& from, const std::string& to, bool force) {
  auto source = ParseSandboxPath(from);
  if (!source) return tl::unexpected(source.error());
  v1::RenameFileRequest request;
  request.set_id(source->id);
  request.set_from(source->path);
  request.set_to(to);
  request.set_replace(force);
  auto response = CallDaemon<v1::RenameFileResponse>(context, kSandboxes, "RenameFile", request);
  if (!response) return tl::unexpected(response.error());
  return kDone;
}

void AddReadAndWrite(CLI::App& sandbox, Context& context) {
  CLI::App* read = AddCommand(sandbox, context, "read", "Print a file of a sandbox");
  auto place = std::make_shared<std::string>();
  read->add_option("PLACE", *place, "The file, ID:/PATH")->required()->type_name("");
  read->callback(
      [&context, place] { context.command = [&context, place] { return Read(context, *place); }; });

  CLI::App* write =
      AddCommand(sandbox, context, "write", "Write standard input to a file of a sandbox");
  auto target = std::make_shared<std::string>();
  auto append = std::make_shared<bool>(false);
  auto mode = std::make_shared<std::string>();
  write->add_option("PLACE", *target, "The file, ID:/PATH")->required()->type_name("");
  write->add_flag("-a,--append", *append, "After what it holds, not in its place");
  write->add_option("--mode", *mode, "Permission bits of a new file (default: 644)")
      ->type_name("OCTAL");
  write->callback([&context, target, append, mode] {
    context.command = [&context, target, append, mode]() -> Outcome {
      char* end = nullptr;
      const unsigned long bits = std::strtoul(mode->c_str(), &end, 8);
      if (*end != 0 || bits > 07777)
        return Fail(kUsage, "--mode: '" + *mode + "' is not an octal number up to 7777");
      return Write(context, *target, *append, static_cast<uint32_t>(bits));
    };
  });

  CLI::App* stat = AddCommand(sandbox, context, "stat", "Show what a file of a sandbox is");
  auto of = std::make_shared<std::string>();
  stat->add_option("PLACE", *of, "The file, ID:/PATH")->required()->type_name("");
  stat->callback(
      [&context, of] { context.command = [&context, of] { return Stat(context, *of); }; });
}

void AddChanges(CLI::App& sandbox, Context& context) {
  CLI::App* remove = AddCommand(sandbox, context, "rm", "Remove files of sandboxes");
  auto removed = std::make_shared<std::vector<std::string>>();
  auto request = std::make_shared<v1::RemoveFileRequest>();
  auto recursive = std::make_shared<bool>(false);
  auto force = std::make_shared<bool>(false);
  remove->add_option("PLACE", *removed, "The files, ID:/PATH")->required()->type_name("");
  remove->add_flag("-r,--recursive", *recursive, "Folders, too, with all below them");
  remove->add_flag("-f,--force", *force, "What is not there is no error");
  remove->callback([&context, removed, request, recursive, force] {
    context.command = [&context, removed, request, recursive, force] {
      request->set_recursive(*recursive);
      request->set_missing_ok(*force);
      return ForEachPath<v1::RemoveFileRequest, v1::RemoveFileResponse>(context, *removed,
                                                                        "RemoveFile", *request);
    };
  });

  CLI::App* make = AddCommand(sandbox, context, "mkdir", "Make folders in sandboxes");
  auto made = std::make_shared<std::vector<std::string>>();
  auto parents = std::make_shared<bool>(false);
  make->add_option("PLACE", *made, "The folders, ID:/PATH")->required()->type_name("");
  make->add_flag("-p,--parents", *parents, "Those above, too; one that is there is no error");
  make->callback([&context, made, parents] {
    context.command = [&context, made, parents] {
      v1::MakeDirectoryRequest wanted;
      wanted.set_parents(*parents);
      return ForEachPath<v1::MakeDirectoryRequest, v1::MakeDirectoryResponse>(
          context, *made, "MakeDirectory", wanted);
    };
  });

  CLI::App* move = AddCommand(sandbox, context, "mv", "Rename a file of a sandbox");
  auto names = std::make_shared<std::pair<std::string, std::string>>();
  auto replace = std::make_shared<bool>(false);
  move->add_option("PLACE", names->first, "The file, ID:/PATH")->required()->type_name("");
  move->add_option("NEW", names->second, "Its new path")->required()->type_name("");
  move->add_flag("-f,--force", *replace, "In the place of what is there");
  move->callback([&context, names, replace] {
    context.command = [&context, names, replace] {
      return Move(context, names->first, names->second, *replace);
    };
  });
}

}  // namespace

Outcome ListSandboxFiles(const Context& context, const std::string& place) {
  v1::ListFilesRequest request;
  auto connection = Open(context, place, request);
  if (!connection) return tl::unexpected(connection.error());
  Table table({{"MODE"}, {"SIZE", Align::kRight}, {"MODIFIED"}, {"NAME"}});
  auto array = nlohmann::ordered_json::array();
  do {
    auto response = CallSandbox<v1::ListFilesResponse>(context, *connection, "ListFiles", request);
    if (!response) return tl::unexpected(response.error());
    for (const v1::FileInfo& file : response->files()) {
      if (context.json)
        array.push_back(FileJson(file));
      else
        AddRow(table, file);
    }
    request.set_cursor(response->cursor());
  } while (request.cursor() != 0);
  if (context.json)
    PrintJson(array);
  else
    table.Print();
  return kDone;
}

void AddSandboxFiles(CLI::App& sandbox, Context& context) {
  AddReadAndWrite(sandbox, context);
  AddChanges(sandbox, context);
  CLI::App* watch =
      AddCommand(sandbox, context, "watch", "Print changes below a folder of a sandbox");
  auto place = std::make_shared<std::string>();
  auto recursive = std::make_shared<bool>(false);
  watch->add_option("PLACE", *place, "The folder, ID:/PATH")->required()->type_name("");
  watch->add_flag("-r,--recursive", *recursive, "In folders below it, too");
  watch->callback([&context, place, recursive] {
    context.command = [&context, place, recursive] { return Watch(context, *place, *recursive); };
  });
}

}  // namespace spore::cli
