// Builds archives, good and bad, in memory.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <string>
#include <string_view>
#include <vector>

namespace spore {

struct ArchiveItem {
  std::string name;
  std::string text = "x";
  unsigned type = AE_IFREG;
  unsigned mode = 0644;
  std::string symlink;
  std::string hardlink;
};

inline ArchiveItem Folder(std::string name) {
  return {.name = std::move(name), .type = AE_IFDIR};
}
inline ArchiveItem Symlink(std::string name, std::string target) {
  return {.name = std::move(name), .type = AE_IFLNK, .symlink = std::move(target)};
}
inline ArchiveItem HardLink(std::string name, std::string target) {
  return {.name = std::move(name), .hardlink = std::move(target)};
}
inline ArchiveItem Special(std::string name, unsigned type) {
  return {.name = std::move(name), .type = type};
}

enum class Packing { kTar, kTarGz, kTarXz, kZip };

// libarchive's writer takes any name, so the bad ones need no tricks. Empty when it fails.
inline std::string BuildArchive(Packing packing, const std::vector<ArchiveItem>& items) {
  std::string bytes(64u << 20, '\0');
  size_t used = 0;
  archive* a = archive_write_new();
  if (packing == Packing::kZip) {
    archive_write_set_format_zip(a);
  } else {
    archive_write_set_format_gnutar(a);
    if (packing == Packing::kTarGz) archive_write_add_filter_gzip(a);
    if (packing == Packing::kTarXz) archive_write_add_filter_xz(a);
  }
  archive_write_set_bytes_in_last_block(a, 1);
  bool good = archive_write_open_memory(a, bytes.data(), bytes.size(), &used) == ARCHIVE_OK;
  for (const ArchiveItem& item : items) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, item.name.c_str());
    archive_entry_set_filetype(entry, item.type);
    archive_entry_set_perm(entry, static_cast<__LA_MODE_T>(item.mode));
    if (!item.symlink.empty()) archive_entry_set_symlink(entry, item.symlink.c_str());
    if (!item.hardlink.empty()) archive_entry_set_hardlink(entry, item.hardlink.c_str());
    bool data = item.type == AE_IFREG && item.hardlink.empty();
    archive_entry_set_size(entry, data ? static_cast<la_int64_t>(item.text.size()) : 0);
    good = good && archive_write_header(a, entry) >= ARCHIVE_WARN;
    if (data) good = good && archive_write_data(a, item.text.data(), item.text.size()) >= 0;
    archive_entry_free(entry);
  }
  good = archive_write_close(a) == ARCHIVE_OK && good;
  archive_write_free(a);
  bytes.resize(good ? used : 0);
  return bytes;
}

// Every `from` in the bytes becomes `to`, of the same length.
inline std::string Patch(std::string bytes, std::string_view from, std::string_view to) {
  for (size_t at = bytes.find(from); at != bytes.npos; at = bytes.find(from, at + from.size())) {
    bytes.replace(at, from.size(), to);
  }
  return bytes;
}

}  // namespace spore
