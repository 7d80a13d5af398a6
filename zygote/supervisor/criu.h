// Runs CRIU inside the image.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// What CRIU works with, attached to the image's root for as long as this lives: the checkpoint's
// files at kCheckpointPlace, and the /usr that CRIU lies in at kCriuPlace (sandbox/root_fs.h). The
// network namespace's loopback is up as long, which CRIU's look at the kernel needs.
class CriuWorkplace {
 public:
  static Result<CriuWorkplace> Open(int files, int criu);
  ~CriuWorkplace();
  CriuWorkplace(CriuWorkplace&& other) noexcept;
  CriuWorkplace& operator=(CriuWorkplace&&) = delete;

  // `inherit`: a descriptor for each of CRIU's numbers from kFirstInherited on. Returns when CRIU
  // has ended well; the error has its own words. It is killed when late.
  Result<> Run(const std::vector<std::string>& arguments, const std::vector<int>& inherit,
               std::chrono::milliseconds limit) const;

 private:
  CriuWorkplace() = default;
  std::vector<const char*> attached_;
  bool loopback_ = false;
};

constexpr int kFirstInherited = 8;

}  // namespace spore
