// Which zygotes of library sets are worth their memory (docs/decisions/0013).
//
// A set's zygote is made when starts want it: more than one within the last minutes, that would
// have saved enough import time together. It is ended when nothing has wanted it for long, or when
// another is worth more of the memory that all may take; the least by FaasCache's priority goes
// first: clock + frequency x cost / size, the cost being the import time that a start saves, the
// clock the priority of the last that went so. Parents never go before their children.
//
// No clock, no process: what happens is told, what is to be done is asked for.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace spore {

class ZygoteTreePolicy {
 public:
  struct Limits {
    uint64_t memory_bytes = 512u << 20;  // that all hold beyond their parents'; 0: none is made
    uint64_t idle_ns = 600'000'000'000;
  };
  struct Key {
    std::string image, set;
    auto operator<=>(const Key&) const = default;
  };
  struct Decision {
    bool grow = false;  // with what is above it; else shrink
    Key key;
    std::string reason;
  };
  struct View {
    double recent = 0;  // starts that wanted it, each half as much a minute later
    uint64_t import_us = 0;
    uint64_t bytes = 0;
    std::string reason;  // why it is not there
  };

  explicit ZygoteTreePolicy(const Limits& limits) : limits_(limits) {}

  // A set of an image; `parent` before it, or empty. One that is kept goes only by Gone.
  void Add(const Key& key, const std::string& parent, bool keep);

  // A start would be served best from it. `saves_us`: what that is thought to save, as long as no
  // zygote of the set has said so.
  void Wanted(const Key& key, uint64_t saves_us, uint64_t now_ns);
  void Growing(const Key& key);
  void Ready(const Key& key, uint64_t import_us, uint64_t bytes, uint64_t now_ns);
  // `failed`: it is tried again after 1, 2, 4 .. s, at most ten minutes.
  void Gone(const Key& key, const std::string& reason, bool failed, uint64_t now_ns);

  // What is to be done now. The caller says so (Growing, Gone) when it does.
  std::vector<Decision> Decide(uint64_t now_ns);
  // Nothing is there, so time alone changes nothing.
  bool Idle() const;
  // Whoever wanted it does no more.
  void Forget(const Key& key);

  View Of(const Key& key, uint64_t now_ns) const;

 private:
  enum class State { kAbsent, kGrowing, kReady };
  struct Entry {
    std::string parent;
    bool keep = false;
    State state = State::kAbsent;
    double recent = 0;
    uint64_t recent_ns = 0;  // as of
    uint64_t wanted_ns = 0;  // last
    uint64_t hint_us = 0;    // before there was a zygote
    uint64_t import_us = 0;  // as the last zygote of it measured; 0: none was there
    uint64_t bytes = 0;      // likewise
    double priority = 0;
    uint32_t failures = 0;  // in a row
    uint64_t retry_ns = 0;
    std::string reason;
  };
  using Entries = std::map<Key, Entry>;

  static double RecentAt(const Entry& entry, uint64_t now_ns);
  uint64_t SavesUs(const Key& key) const;
  uint64_t Size(const Entry& entry) const;
  uint64_t MissingBytes(const Key& key) const;
  uint64_t HeldBytes() const;
  bool HasChildren(const Key& key) const;
  bool MayGo(const Entries::value_type& entry) const;
  void SetPriority(const Key& key, Entry& entry);
  bool IsAbove(const Key& key, const Key& other) const;
  Entries::iterator Least(double below, const Key& for_whom);
  void DecideShrink(uint64_t now_ns, std::vector<Decision>& decisions);
  void DecideGrow(uint64_t now_ns, std::vector<Decision>& decisions);
  void MakeRoom(const Key& key, uint64_t bytes, std::vector<Decision>& decisions);

  Limits limits_;
  double clock_ = 0;
  Entries entries_;
};

}  // namespace spore
