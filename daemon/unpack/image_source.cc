#include "daemon/unpack/image_source.h"

#include <archive_entry.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace spore::unpack {

std::string Sha256::Finish() {
  std::array<uint8_t, SHA256_DIGEST_SIZE> digest;
  sha256_digest(&context_, digest.size(), digest.data());
  std::string text = "sha256:";
  for (const uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string ArchiveReason(archive* reader) {
  const char* text = archive_error_string(reader);
  std::string reason = text != nullptr ? text : "unknown error";
  for (char& c : reason) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return reason.substr(0, 300);
}

la_ssize_t ByteSource::Next() {
  if (!error_) return -1;
  auto got = Read(buffer_.data(), buffer_.size());
  if (got && *got > 0) {
    bytes_ += *got;
    digest_.Add(buffer_.data(), *got);
    if (bytes_ <= max_bytes_) return static_cast<la_ssize_t>(*got);
    error_ =
        MakeError(ErrorKind::kInvalid, fmt::format("the image has more than {} bytes", max_bytes_),
                  "max-image-bytes in spore.toml(5) sets the most");
    return -1;
  }
  if (got) return 0;
  error_ = tl::unexpected(std::move(got).error());
  return -1;
}

la_ssize_t ByteSource::OnRead(archive* reader, void* self, const void** data) {
  auto* source = static_cast<ByteSource*>(self);
  *data = source->buffer_.data();
  const la_ssize_t got = source->Next();
  if (got < 0) archive_set_error(reader, EIO, "%s", source->error_.error().Message().c_str());
  return got;
}

Result<> ByteSource::OpenIn(archive* reader) {
  if (archive_read_open(reader, this, nullptr, OnRead, nullptr) == ARCHIVE_OK) return {};
  SPORE_TRY(error_);
  return MakeError(ErrorKind::kInvalid, "this cannot be read: " + ArchiveReason(reader));
}

Result<> ByteSource::Drain() {
  while (Next() > 0) {
  }
  return error_;
}

Result<size_t> FileSource::Read(void* buffer, size_t size) {
  for (;;) {
    const ssize_t got = read(fd_, buffer, size);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return SysError("read the archive");
  }
}

Result<> DecompressedSource::Open() {
  reader_.reset(archive_read_new());
  archive* a = reader_.get();
  if (a == nullptr) return SysErrorOf(ENOMEM, "make an archive reader");
  const int worst =
      std::min({archive_read_support_filter_gzip(a), archive_read_support_filter_zstd(a),
                archive_read_support_format_raw(a), archive_read_support_format_empty(a)});
  if (worst != ARCHIVE_OK)
    return MakeError(ErrorKind::kInternal, "prepare the archive reader: " + ArchiveReason(a));
  SPORE_TRY(inner_.OpenIn(a));
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(a, &entry);
  if (status == ARCHIVE_OK || status == ARCHIVE_WARN || status == ARCHIVE_EOF) return {};
  SPORE_TRY(inner_.error());
  return MakeError(ErrorKind::kInvalid, "it cannot be decompressed: " + ArchiveReason(a));
}

Result<size_t> DecompressedSource::Read(void* buffer, size_t size) {
  const la_ssize_t got = archive_read_data(reader_.get(), buffer, size);
  if (got >= 0) return static_cast<size_t>(got);
  SPORE_TRY(inner_.error());
  return MakeError(ErrorKind::kInvalid,
                   "it is damaged or cut short: " + ArchiveReason(reader_.get()));
}

}  // namespace spore::unpack
