#include "zygote/hosts/native/library.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

// What the dynamic linker has to say, of a call that has just failed.
std::string LinkerText() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown error";
}

// A symbol may as well be a variable. Calling that would crash, which tells nobody why.
bool IsFunction(void* address) {
  Dl_info info{};
  void* found = nullptr;
  if (dladdr1(address, &info, &found, RTLD_DL_SYMENT) == 0 || found == nullptr) return true;
  const unsigned type = ELF64_ST_TYPE(static_cast<const ElfW(Sym)*>(found)->st_info);
  return type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE;
}

// Of a file that was cut, ld.so maps what is not there, and the process dies of it (SIGBUS). Empty
// when it is whole, or when ld.so will see by itself that it is no shared object.
std::string WhyCut(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  ElfW(Ehdr) header;
  if (!file || fstat(file.get(), &info) < 0 ||
      pread(file.get(), &header, sizeof header, 0) != sizeof header ||
      memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(ElfW(Phdr))) {
    return {};
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  uint64_t needed = header.e_phoff + uint64_t{header.e_phnum} * sizeof(ElfW(Phdr));
  for (size_t i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    const auto at = static_cast<off_t>(header.e_phoff + i * sizeof segment);
    if (pread(file.get(), &segment, sizeof segment, at) != sizeof segment) break;
    if (segment.p_type == PT_LOAD) needed = std::max(needed, segment.p_offset + segment.p_filesz);
  }
  if (needed <= size) return {};
  return path + ": cut short: it has " + std::to_string(size) + " bytes of at least " +
         std::to_string(needed);
}

// Loading runs the object's constructors, which are the tenant's and may throw.
void* Open(const std::string& path, LoadFailure& failure) {
  void* object = nullptr;
  const Thrown thrown = CatchAll([&] { object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); });
  if (!thrown.type.empty()) failure = {thrown.type, thrown.message};
  return object;
}

}  // namespace

std::string Preload(const std::string& list) {
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    const std::string name = list.substr(at, end - at);
    LoadFailure failure;
    if (Open(name, failure) == nullptr) {
      if (!failure.type.empty())
        return "preload " + name + ": " + failure.type + ": " + failure.message;
      return "preload " + name + ": " + LinkerText();
    }
    at = end + 1;
  }
  return {};
}

LoadFailure LoadHandler(const std::string& spec, const std::string& root, spore_handler** handler) {
  const size_t colon = spec.rfind(':');
  const std::string file = spec.substr(0, colon);
  const std::string symbol = colon == spec.npos ? "" : spec.substr(colon + 1);
  const std::string path = root + "/" + file;
  const std::string unimportable = "Unable to import module '" + file + "': ";
  if (const std::string why = WhyCut(path); !why.empty())
    return {"Runtime.ImportModuleError", unimportable + why};
  LoadFailure failure;
  void* object = nullptr;
  if (access(path.c_str(), F_OK) < 0 && errno == ENOENT)
    object = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (object == nullptr) object = Open(path, failure);
  if (!failure.type.empty()) return failure;
  if (object == nullptr) return {"Runtime.ImportModuleError", unimportable + LinkerText()};
  void* address = dlsym(object, symbol.c_str());
  if (address == nullptr) {
    return {"Runtime.HandlerNotFound",
            "Handler '" + symbol + "' missing on module '" + file +
                "': it must be exported under its plain name (extern \"C\" in C++)"};
  }
  if (!IsFunction(address)) {
    return {"Runtime.HandlerNotFound",
            "Handler '" + symbol + "' of module '" + file + "' is not a function"};
  }
  *handler = reinterpret_cast<spore_handler*>(address);
  return {};
}

}  // namespace spore
