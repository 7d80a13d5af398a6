// What instances have compiled of their function's code, kept in memory for the instances that
// follow, as the frame that these are sent first. Opaque to spored: it is only ever given back to
// the runtime, of the same zygote, that said it before the tenant's code ran there, and for the
// same version of the function (docs/decisions/0005-a-fresh-start-in-less.md).
//
// One thread.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "daemon/functions/function_store.h"

namespace spore {

class CodeCache {
 public:
  using Version = std::shared_ptr<const FunctionVersion>;
  using Code = std::shared_ptr<const std::string>;

  // Beyond `max_bytes` what has been used least recently goes.
  explicit CodeCache(size_t max_bytes) : max_bytes_(max_bytes) {}

  Code Find(uint64_t zygote, const Version& version);  // null: there is none
  void Keep(uint64_t zygote, const Version& version, std::string code);
  size_t bytes() const { return bytes_; }

 private:
  using Key = std::pair<uint64_t, const FunctionVersion*>;
  struct Entry {
    Key key;
    std::weak_ptr<const FunctionVersion> version;  // another can come to have the same address
    Code code;
  };
  using Entries = std::list<Entry>;
  void Drop(Entries::iterator entry);

  size_t max_bytes_;
  size_t bytes_ = 0;
  Entries entries_;  // the most recently used first
  std::map<Key, Entries::iterator> by_key_;
};

}  // namespace spore
