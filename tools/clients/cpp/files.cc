// Of sandboxes, what concerns files.
#include <spore/sandbox.h>

#include <algorithm>

#include "spore/v1/sandboxes.pb.h"
#include "tools/clients/cpp/link.h"

namespace spore {
inline namespace client_0 {
namespace {

constexpr const char* kSandboxes = "Sandboxes";
constexpr std::size_t kChunk = std::size_t{1} << 20;  // of one call

FileKind FromMessage(v1::FileInfo::Kind kind) {
  switch (kind) {
    case v1::FileInfo::FILE:
      return FileKind::kFile;
    case v1::FileInfo::DIRECTORY:
      return FileKind::kDirectory;
    case v1::FileInfo::SYMLINK:
      return FileKind::kSymlink;
    default:
      return FileKind::kOther;
  }
}

FileInfo FromMessage(const v1::FileInfo& message) {
  FileInfo file;
  file.path = message.path();
  file.kind = FromMessage(message.kind());
  file.size = message.size();
  file.mode = message.mode();
  file.modified = decltype(file.modified)(std::chrono::nanoseconds(message.modified_unix_ns()));
  file.target = message.target();
  return file;
}

// With what every request about a path begins.
template <typename Request>
Request About(const std::string& id, std::string_view path) {
  Request request;
  request.set_id(id);
  request.set_path(path.data(), path.size());
  return request;
}

}  // namespace

Result<std::string> Sandbox::ReadFile(std::string_view path, std::uint64_t limit) const {
  auto request = About<v1::ReadFileRequest>(id_, path);
  std::string content;
  for (;;) {
    request.set_offset(content.size());
    auto part = link_->Call<v1::ReadFileResponse>(kSandboxes, "ReadFile", request);
    if (!part) return tl::unexpected(part.error());
    content += part->data();
    if (content.size() > limit) {
      return tl::unexpected(Error{ErrorKind::kLocal,
                                  std::string(path) + " is larger than " + std::to_string(limit) +
                                      " bytes, the limit of ReadFile",
                                  0,
                                  0,
                                  {},
                                  {}});
    }
    if (part->end() || part->data().empty()) return content;
  }
}

Result<> Sandbox::WriteFile(std::string_view path, std::string_view content,
                            std::uint32_t mode) const {
  std::size_t offset = 0;
  do {
    const std::string_view part = content.substr(offset, kChunk);
    auto request = About<v1::WriteFileRequest>(id_, path);
    request.set_offset(offset);
    request.set_data(part.data(), part.size());
    request.set_create(offset == 0);
    request.set_truncate(offset == 0);
    request.set_mode(mode);
    auto written = link_->Call<v1::WriteFileResponse>(kSandboxes, "WriteFile", request);
    if (!written) return tl::unexpected(written.error());
    offset += part.size();
  } while (offset < content.size());
  return {};
}

Result<std::vector<FileInfo>> Sandbox::ListFiles(std::string_view path) const {
  auto request = About<v1::ListFilesRequest>(id_, path);
  std::vector<FileInfo> files;
  do {
    auto page = link_->Call<v1::ListFilesResponse>(kSandboxes, "ListFiles", request);
    if (!page) return tl::unexpected(page.error());
    for (const v1::FileInfo& file : page->files()) files.push_back(FromMessage(file));
    request.set_cursor(page->cursor());
  } while (request.cursor() != 0);
  return files;
}

Result<FileInfo> Sandbox::StatFile(std::string_view path, bool follow) const {
  auto request = About<v1::StatFileRequest>(id_, path);
  request.set_follow(follow);
  return link_->Call<v1::FileInfo>(kSandboxes, "StatFile", request)
      .map([](const v1::FileInfo& file) { return FromMessage(file); });
}

Result<> Sandbox::MakeDirectory(std::string_view path, bool parents) const {
  auto request = About<v1::MakeDirectoryRequest>(id_, path);
  request.set_parents(parents);
  return link_->Call<v1::MakeDirectoryResponse>(kSandboxes, "MakeDirectory", request)
      .map([](const v1::MakeDirectoryResponse&) {});
}

Result<> Sandbox::RemoveFile(std::string_view path, bool recursive) const {
  auto request = About<v1::RemoveFileRequest>(id_, path);
  request.set_recursive(recursive);
  return link_->Call<v1::RemoveFileResponse>(kSandboxes, "RemoveFile", request)
      .map([](const v1::RemoveFileResponse&) {});
}

Result<> Sandbox::RenameFile(std::string_view from, std::string_view to, bool replace) const {
  v1::RenameFileRequest request;
  request.set_id(id_);
  request.set_from(from.data(), from.size());
  request.set_to(to.data(), to.size());
  request.set_replace(replace);
  return link_->Call<v1::RenameFileResponse>(kSandboxes, "RenameFile", request)
      .map([](const v1::RenameFileResponse&) {});
}

}  // namespace client_0
}  // namespace spore
