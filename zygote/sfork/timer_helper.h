// glibc's thread for timers that call a function (SIGEV_THREAD): one in a process, made with the
// first such timer. Later ones are made for it by an id that glibc keeps to itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spore {

// Where glibc keeps that id. Null before the first such timer, and where nobody has looked.
int32_t* TimerHelperId();

// Finds the place: that is the word of glibc's own memory in which the id of the new thread
// appears, around the call that makes the first such timer. Nothing is assumed of where it is.
class TimerHelperSearch {
 public:
  // Looks at the object that `function` is in.
  explicit TimerHelperSearch(const void* function);
  void Finish() const;

 private:
  struct Segment {
    const int32_t* words = nullptr;
    std::vector<int32_t> before;
  };
  std::vector<Segment> segments_;
};

}  // namespace spore
