// One tar archive into an image's tree.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/unpack/image_source.h"
#include "daemon/unpack/image_tree.h"
#include "sandbox/sys/result.h"

namespace spore::unpack {

struct ImageLimits {
  uint64_t bytes = 0;    // of all files together, as written
  uint32_t entries = 0;  // files, folders and links
  NameLimits names;
};

// What an image's root may not keep, told to who imports it.
struct LeftOut {
  uint64_t special = 0;  // devices, pipes, sockets
  uint64_t set_id = 0;   // files whose set-user-ID or set-group-ID bit was cleared
  std::string first_special, first_set_id;

  std::vector<std::string> Notes() const;
};

class ImageArchive {
 public:
  ImageArchive(ImageTree& tree, const ImageLimits& limits) : tree_(tree), limits_(limits) {}

  // `compressed`: gzip, bzip2, xz and zstd are taken. `layer`: names that begin with ".wh." remove
  // what is there (OCI image spec, layer.md). Reads `source` to its end.
  //
  // Files become 0755 or 0644 and folders 0755, without what others may not do in the archive;
  // owners, times and all other attributes are not kept. A hard link becomes a copy.
  Result<> Add(ByteSource& source, bool compressed, bool layer);

  uint64_t bytes() const { return written_; }
  const LeftOut& left_out() const { return left_out_; }

 private:
  Result<> AddEntry(archive* reader, archive_entry* entry, bool layer);
  Result<> AddRegular(archive* reader, archive_entry* entry, const std::string& name);
  Result<> AddHardLink(const std::string& target, const std::string& name, mode_t mode);
  Result<bool> Whiteout(const std::string& name);
  Result<> Write(int fd, const char* data, size_t size, const std::string& name);

  ImageTree& tree_;
  ImageLimits limits_;
  uint64_t written_ = 0;
  LeftOut left_out_;
  std::array<char, 64 * 1024> buffer_;
};

}  // namespace spore::unpack
