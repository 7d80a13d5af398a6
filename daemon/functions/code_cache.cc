#include "daemon/functions/code_cache.h"

#include <iterator>

namespace spore {
namespace {

// What an entry takes beside its code, roughly.
constexpr size_t kEntryBytes = 256;

size_t Weight(const std::string& code) {
  return kEntryBytes + code.size();
}

}  // namespace

CodeCache::Code CodeCache::Find(uint64_t zygote, const Version& version) {
  const auto found = by_key_.find({zygote, version.get()});
  if (found == by_key_.end()) return nullptr;
  const Entries::iterator entry = found->second;
  if (entry->version.lock() != version) {
    Drop(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return entry->code;
}

void CodeCache::Keep(uint64_t zygote, const Version& version, std::string code) {
  const Key key{zygote, version.get()};
  if (const auto found = by_key_.find(key); found != by_key_.end()) Drop(found->second);
  const size_t weight = Weight(code);
  if (weight > max_bytes_) return;
  while (bytes_ + weight > max_bytes_) Drop(std::prev(entries_.end()));
  code.shrink_to_fit();
  entries_.push_front({key, version, std::make_shared<const std::string>(std::move(code))});
  by_key_[key] = entries_.begin();
  bytes_ += weight;
}

void CodeCache::Drop(Entries::iterator entry) {
  bytes_ -= Weight(*entry->code);
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace spore
