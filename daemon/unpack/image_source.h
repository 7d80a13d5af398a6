// The bytes of an archive on their way into libarchive, counted and digested as they pass.
#pragma once

#include <archive.h>
#include <nettle/sha2.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "sandbox/sys/result.h"

namespace spore::unpack {

struct CloseArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;

// SHA-256, as "sha256:<hex>".
class Sha256 {
 public:
  Sha256() { sha256_init(&context_); }
  void Add(const void* data, size_t size) {
    sha256_update(&context_, size, static_cast<const uint8_t*>(data));
  }
  std::string Finish();

 private:
  sha256_ctx context_;
};

// What reads it stops at the archive's end mark; Drain takes what follows.
class ByteSource {
 public:
  explicit ByteSource(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // Opens `reader`, whose formats and filters have been chosen, on these bytes.
  Result<> OpenIn(archive* reader);
  Result<> Drain();
  // The first error of reading, which libarchive knows as a bare failure.
  const Result<>& error() const { return error_; }
  uint64_t bytes() const { return bytes_; }
  std::string Digest() { return digest_.Finish(); }

 protected:
  // Up to `size` bytes; 0 at the end.
  virtual Result<size_t> Read(void* buffer, size_t size) = 0;

 private:
  static la_ssize_t OnRead(archive* reader, void* self, const void** data);
  la_ssize_t Next();

  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  Sha256 digest_;
  Result<> error_;
  std::array<char, 64 * 1024> buffer_;
};

class FileSource : public ByteSource {
 public:
  // Borrowed.
  FileSource(int fd, uint64_t max_bytes) : ByteSource(max_bytes), fd_(fd) {}

 protected:
  Result<size_t> Read(void* buffer, size_t size) override;

 private:
  int fd_;
};

// What a compressed file decompresses to. One that is not compressed passes as it is.
class DecompressedSource : public ByteSource {
 public:
  DecompressedSource(ByteSource& inner, uint64_t max_bytes)
      : ByteSource(max_bytes), inner_(inner) {}
  Result<> Open();

 protected:
  Result<size_t> Read(void* buffer, size_t size) override;

 private:
  ByteSource& inner_;
  ArchivePtr reader_;
};

// libarchive's own words, made fit for one line.
std::string ArchiveReason(archive* reader);

}  // namespace spore::unpack
