// What `spore image import` sends: the archive of a root, or of an OCI layout.
#pragma once

#include <sys/types.h>

#include <string>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::client {

// A file, or the read end of a pipe into which a process of ours packs a directory.
class ImageArchive {
 public:
  // A directory is packed as it is, without what is mounted below it. Sockets are left out.
  static Result<ImageArchive> Open(const std::string& path);
  ImageArchive(ImageArchive&& other) noexcept
      : fd_(std::move(other.fd_)),
        errors_(std::move(other.errors_)),
        packer_(std::exchange(other.packer_, -1)) {}
  ImageArchive& operator=(ImageArchive&&) = delete;
  ImageArchive(const ImageArchive&) = delete;
  ~ImageArchive();

  int fd() const { return fd_.get(); }
  // Once spored has answered: why the directory could not be packed, if so. Then what spored says
  // of the archive is a consequence.
  Result<> Finish();

 private:
  ImageArchive(Fd fd, Fd errors, pid_t packer)
      : fd_(std::move(fd)), errors_(std::move(errors)), packer_(packer) {}

  Fd fd_;
  Fd errors_;  // what the packer complains of
  pid_t packer_;
};

}  // namespace spore::client
