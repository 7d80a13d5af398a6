#include "daemon/functions/archive_output.h"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace spore {

std::string Sha256::Text() {
  std::array<uint8_t, SHA256_DIGEST_SIZE> digest;
  sha256_digest(&context_, digest.size(), digest.data());
  std::string text = "sha256:";
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

Result<> ArchiveOutput::OpenIn(archive* packed) {
  archive_write_add_filter_zstd(packed);
  // Memory is written once and read often: the fastest level loses little.
  archive_write_set_filter_option(packed, "zstd", "compression-level", "1");
  archive_write_set_bytes_in_last_block(packed, 1);
  if (archive_write_open(packed, this, nullptr, &Write, nullptr) != ARCHIVE_OK)
    return ArchiveError(packed, "begin", "the checkpoint's archive");
  return {};
}

la_ssize_t ArchiveOutput::Write(archive* packed, void* self, const void* buffer, size_t size) {
  auto* output = static_cast<ArchiveOutput*>(self);
  if (size > output->most_ - output->bytes_) {
    output->full_ = true;
    archive_set_error(packed, EFBIG, "write");
    return -1;
  }
  const auto* from = static_cast<const char*>(buffer);
  for (size_t done = 0; done < size;) {
    const ssize_t n = write(output->fd_, from + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      archive_set_error(packed, errno, "write");
      return -1;
    }
    done += static_cast<size_t>(n);
  }
  output->digest_.Add(buffer, size);
  output->bytes_ += size;
  return static_cast<la_ssize_t>(size);
}

tl::unexpected<Error> ArchiveError(archive* packed, const std::string& doing,
                                   const std::string& name) {
  const char* text = archive_error_string(packed);
  const int error = archive_errno(packed);
  return SysErrorOf(error > 0 ? error : EIO,
                    doing + (text == nullptr ? "" : std::string(" (") + text + ")"), name);
}

}  // namespace spore
