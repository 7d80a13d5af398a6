#include "tools/spore/context.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "tools/spore/output.h"

namespace spore::cli {
namespace {

std::string GroupOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  const group* entry = ::getgrgid(info.st_gid);
  return entry != nullptr ? entry->gr_name : std::string();
}

std::string ReachHint(const client::Error& error, const std::string& socket) {
  switch (error.errno_value) {
    case ENOENT:
      return "\nNothing listens there. Start the daemon (systemctl start spored, or run spored as "
             "root),\nor say where it listens with --socket or SPORE_SOCKET.";
    case ECONNREFUSED:
      return "\nThe socket is there, but no daemon behind it: it has stopped. Start it again "
             "(systemctl start spored,\nor run spored as root).";
    case EACCES:
    case EPERM: {
      const std::string group = GroupOf(socket);
      if (group.empty() || group == "root") {
        return "\nOnly root may use this socket: run as root, or have the administrator set "
               "socket-group in spore.toml(5).";
      }
      return "\nOnly root and members of the group '" + group +
             "' may: have the administrator run 'usermod -aG " + group +
             " USER', then log in again.";
    }
    case ENAMETOOLONG:
      return "\nThe path of a UNIX socket has at most 107 bytes.";
    default:
      return {};
  }
}

}  // namespace

Expected<client::Connection> Context::Connect() const {
  auto connection = client::Connection::Open(socket);
  if (!connection) return tl::unexpected(Explain(connection.error(), socket));
  return std::move(*connection);
}

Outcome CallForEach(
    const Context& context, const std::vector<std::string>& names,
    const std::function<client::Result<>(client::Connection&, const std::string& name)>& call) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  int code = kDone;
  for (const std::string& name : names) {
    const auto done = call(*connection, name);
    if (done) continue;
    const Failure failure = Explain(done.error(), context.socket);
    if (failure.exit_code == kUnreachable) return tl::unexpected(failure);
    fmt::print(stderr, "spore: {}\n", ForTerminal(failure.message, STDERR_FILENO));
    code = failure.exit_code;
  }
  return code;
}

Failure Explain(const client::Error& error, const std::string& socket) {
  switch (error.kind) {
    case client::ErrorKind::kUnreachable:
      return {kUnreachable, error.message + ReachHint(error, socket)};
    case client::ErrorKind::kLost:
      return {kUnreachable,
              error.message + "\nThe daemon may have stopped; see its log (journalctl -u spored)."};
    case client::ErrorKind::kLocal:
      return {kRefused, error.message};
    case client::ErrorKind::kRefused:
      break;
  }
  switch (error.code) {
    case client::kUnavailable:
      return {kUnreachable, error.message};
    case client::kAlreadyExists:
      if (!error.message.starts_with("function")) return {kRefused, error.message};
      return {kRefused, error.message + "\nTo replace it, use: spore function update"};
    case client::kUnimplemented:
      return {kRefused, error.message + "\nspored is of another version: compare 'spore version'."};
    default:
      return {kRefused, error.message};
  }
}

void AddCommonOptions(CLI::App& command, Context& context) {
  command
      .add_option(
          "--socket", context.socket,
          std::string("Where spored listens (default: SPORE_SOCKET, or ") + kDefaultSocket + ")")
      ->type_name("PATH");
  command.add_flag_callback(
      "--json", [&context] { context.json = true; }, "Print JSON");
  command
      .add_option_function<std::string>(
          "--format", [&context](const std::string& value) { context.json = value == "json"; },
          "How to print")
      ->type_name("table|json")
      ->check(CLI::IsMember({"table", "json"}).description(""));
}

CLI::App* AddCommand(CLI::App& parent, Context& context, const std::string& name,
                     const std::string& description) {
  CLI::App* command = parent.add_subcommand(name, description);
  AddCommonOptions(*command, context);
  return command;
}

}  // namespace spore::cli
