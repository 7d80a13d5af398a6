// A small file of /proc, read into a buffer of its own: no allocation, no stdio, no lock.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>

namespace spore {

class ProcText {
 public:
  bool Read(const char* path);
  bool ReadTask(pid_t tid, const char* file);  // /proc/self/task/TID/file

  const char* data() const { return text_; }  // ends with a null character
  std::string_view view() const { return {text_, size_}; }
  bool empty() const { return size_ == 0; }
  bool StartsWith(std::string_view prefix) const {
    return view().substr(0, prefix.size()) == prefix;
  }

  // Of a `stat` file: the state, which follows the last parenthesis of the name (proc(5)).
  char StateLetter() const;
  // Of a `status` file: a hexadecimal mask such as "SigBlk:". 0 when there is none of that name.
  unsigned long Mask(std::string_view name) const;

 private:
  size_t size_ = 0;
  char text_[4096];
};

// The ids of the caller's threads, in the kernel's order. Returns how many there are, and writes at
// most `capacity` of them; -1 and errno on failure.
ssize_t ListThreadIds(pid_t* tids, size_t capacity);

}  // namespace spore
