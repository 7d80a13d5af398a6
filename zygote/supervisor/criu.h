// Runs CRIU inside the image.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/workplace.h"

namespace spore {

// What CRIU works with, attached to the image's root for as long as this lives.
class CriuWorkplace {
 public:
  static Result<CriuWorkplace> Open(int files, int criu);

  // `inherit`: a descriptor for each of CRIU's numbers from kFirstInherited on. Returns when CRIU
  // has ended well; the error has its own words. It is killed when late.
  Result<> Run(const std::vector<std::string>& arguments, const std::vector<int>& inherit,
               std::chrono::milliseconds limit) const;

 private:
  explicit CriuWorkplace(Workplace place) : place_(std::move(place)) {}
  Workplace place_;
};

constexpr int kFirstInherited = 8;

}  // namespace spore
