// Where libarchive writes an archive of ours to: a file, with its digest, its length and a limit.
#pragma once

#include <archive.h>
#include <nettle/sha2.h>

#include <cstdint>
#include <memory>
#include <string>

#include "sandbox/sys/result.h"

namespace spore {

class Sha256 {
 public:
  Sha256() { sha256_init(&context_); }
  void Add(const void* data, size_t size) {
    sha256_update(&context_, size, static_cast<const uint8_t*>(data));
  }
  std::string Text();  // "sha256:<hex>"; once

 private:
  sha256_ctx context_;
};

class ArchiveOutput {
 public:
  explicit ArchiveOutput(int fd, uint64_t most = UINT64_MAX) : fd_(fd), most_(most) {}
  ArchiveOutput(const ArchiveOutput&) = delete;
  ArchiveOutput& operator=(const ArchiveOutput&) = delete;

  // Begins an archive here whose format has been chosen; the filter is zstd.
  Result<> OpenIn(archive* packed);

  uint64_t bytes() const { return bytes_; }
  bool full() const { return full_; }  // it would have become longer than `most`
  std::string Digest() { return digest_.Text(); }

 private:
  static la_ssize_t Write(archive* packed, void* self, const void* buffer, size_t size);

  int fd_;
  uint64_t most_;
  Sha256 digest_;
  uint64_t bytes_ = 0;
  bool full_ = false;
};

using ArchiveReader = std::unique_ptr<archive, decltype(&archive_read_free)>;
using ArchiveWriter = std::unique_ptr<archive, decltype(&archive_write_free)>;

// What libarchive says about its last failure.
tl::unexpected<Error> ArchiveError(archive* packed, const std::string& doing,
                                   const std::string& name);

}  // namespace spore
