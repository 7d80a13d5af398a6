#include "daemon/checkpoints/checkpoint_ties.h"

#include <nettle/sha2.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "daemon/loop/event_loop.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

namespace fs = std::filesystem;

// Sixteen digits of a SHA-256: enough to tell two versions apart.
std::string Mark(const std::string& text) {
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, text.size(), reinterpret_cast<const uint8_t*>(text.data()));
  std::array<uint8_t, 8> digest;
  sha256_digest(&context, digest.size(), digest.data());
  std::string mark;
  for (const uint8_t byte : digest) {
    mark += "0123456789abcdef"[byte >> 4];
    mark += "0123456789abcdef"[byte & 15];
  }
  return mark;
}

Result<std::string> ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return SysError("read", path.native());
  return text.str();
}

// Model and what it can do. The order of flags may change, the first processor stands for all.
Result<std::string> DescribeCpu() {
  SPORE_ASSIGN(const std::string text, ReadFile("/proc/cpuinfo"));
  std::istringstream lines(text);
  std::string model, flags;
  for (std::string line; std::getline(lines, line) && !line.empty();) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) model = line.substr(colon + 2);
    if (line.starts_with("flags") || line.starts_with("Features")) flags = line.substr(colon + 2);
  }
  std::istringstream words(flags);
  std::set<std::string> sorted;
  for (std::string word; words >> word;) sorted.insert(word);
  flags.clear();
  for (const std::string& word : sorted) flags += word + " ";
  return model + ", features " + Mark(flags);
}

// Of an imported image its digest, which its manifest and all of its files make up: it is the same
// image wherever it was imported, and under whatever number.
std::string DescribeImage(const ImageManifest& image) {
  if (!image.root.digest.empty()) return image.root.digest;
  // Lengths keep one field from looking like the next one's beginning.
  std::string text;
  const auto add = [&](const std::string& word) {
    text += std::to_string(word.size()) + ":" + word + ",";
  };
  for (const std::string& word : {image.name, image.runtime, image.interpreter, image.warm_up})
    add(word);
  for (const auto* list : {&image.preload, &image.options}) {
    add(std::to_string(list->size()));
    for (const std::string& word : *list) add(word);
  }
  for (const auto& [key, value] : image.environment) {
    add(key);
    add(value);
  }
  add(image.threads ? "threads" : "");
  return Mark(text);
}

// The host's may be upgraded beneath its image; that of a root of its own is tied by the image.
Result<std::string> DescribeInterpreter(const ImageManifest& image) {
  const std::string& path = image.interpreter;
  if (!image.root.path.empty()) return path;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return SysError("stat", path);
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  return real.native() + ", " + std::to_string(status.st_size) + " bytes of " +
         std::to_string(status.st_mtim.tv_sec);
}

// Spore's own part of the runtime, by content.
Result<std::string> DescribeHost(const fs::path& directory) {
  std::set<fs::path> files;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(directory, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    // Objects of a build tree that was not installed.
    if (it->is_directory(error) && it->path().extension() == ".p") it.disable_recursion_pending();
    if (it->is_regular_file(error)) files.insert(it->path());
  }
  if (error) return SysErrorOf(error.value(), "list", directory.native());
  std::string all;
  for (const fs::path& file : files) {
    SPORE_ASSIGN(const std::string content, ReadFile(file));
    all += file.lexically_relative(directory).native() + " " + Mark(content) + "\n";
  }
  return Mark(all);
}

Result<std::string> BootId() {
  SPORE_ASSIGN(std::string text, ReadFile("/proc/sys/kernel/random/boot_id"));
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.pop_back();
  return text;
}

}  // namespace

Result<> TieCheckpoint(const ImageManifest& image, const std::string& host_directory,
                       v1::Checkpoint* checkpoint) {
  utsname system{};
  if (uname(&system) != 0) return SysError("uname");
  std::ostringstream spore;
  spore << SPORE_VERSION << ", protocol " << std::hex << wire::kMagic;
  auto& ties = *checkpoint->mutable_ties();
  ties["kernel"] = std::string(system.release) + " " + system.machine;
  ties["spore"] = spore.str();
  ties["image"] = DescribeImage(image);
  SPORE_ASSIGN(ties["cpu"], DescribeCpu());
  SPORE_ASSIGN(ties["runtime"], DescribeInterpreter(image));
  SPORE_ASSIGN(ties["host-files"], DescribeHost(fs::path(host_directory) / image.runtime));
  SPORE_ASSIGN(*checkpoint->mutable_boot_id(), BootId());
  checkpoint->set_clock_ns(MonotonicNs());
  return {};
}

std::string DifferenceOf(const v1::Checkpoint& kept, const v1::Checkpoint& here) {
  for (const auto& [name, value] : here.ties()) {
    const auto found = kept.ties().find(name);
    if (found == kept.ties().end()) return "it does not say its " + name;
    if (found->second != value)
      return "its " + name + " was \"" + found->second + "\" and here is \"" + value + "\"";
  }
  if (kept.ties().size() != here.ties().size()) return "it is tied to more than this spored knows";
  // Time-outs that a thread sleeps in end at a time of that clock, which may be hours ahead here.
  if (kept.boot_id() != here.boot_id() && kept.clock_ns() > here.clock_ns()) {
    return "this host has been up for " + std::to_string(here.clock_ns() / 1'000'000'000) +
           " s, the one that made it for " + std::to_string(kept.clock_ns() / 1'000'000'000) + " s";
  }
  return "";
}

}  // namespace spore
