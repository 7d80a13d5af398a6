// Measured times and what is told of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace spore::bench {

class Samples {
 public:
  void Add(double us) { us_.push_back(us); }
  void Add(const Samples& other) { us_.insert(us_.end(), other.us_.begin(), other.us_.end()); }
  std::size_t count() const { return us_.size(); }
  bool empty() const { return us_.empty(); }
  // The smallest sample that `percent` of all do not exceed; 0 when there is none.
  double Percentile(double percent) const;
  double Median() const { return Percentile(50); }

 private:
  std::vector<double> us_;
};

// Microseconds since it was made.
class Stopwatch {
 public:
  double Us() const {
    return std::chrono::duration<double, std::micro>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace spore::bench
