#include "zygote/checkpoint/load_filters.h"

#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "zygote/branch/process_maps.h"
#include "zygote/branch/remote_memory.h"

namespace spore {
namespace {

struct FilterHeader {  // sock_fprog, as it lies in another process
  uint16_t length = 0;
  uint16_t padding[3] = {};
  uint64_t instructions = 0;
};

size_t Pages(size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

Result<> LoadOne(Tracee& thread, const RemoteMemory& memory, const SeccompProgram& program) {
  const size_t bytes = program.instructions.size() * sizeof(sock_filter);
  const size_t room = Pages(sizeof(FilterHeader) + bytes);
  SPORE_ASSIGN(const uint64_t at,
               thread.Make("make room for a filter", SYS_mmap, 0, room, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0));
  FilterHeader header;
  header.length = static_cast<uint16_t>(program.instructions.size());
  header.instructions = at + sizeof header;
  SPORE_TRY(memory.Write(at, &header, sizeof header));
  SPORE_TRY(memory.Write(header.instructions, program.instructions.data(), bytes));
  SPORE_ASSIGN(const uint64_t stranger,
               thread.Make("load a filter", SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                           SECCOMP_FILTER_FLAG_TSYNC, at));
  if (stranger != 0)
    return MakeError(ErrorKind::kPrecondition, "a restored thread has filters of its own");
  SPORE_TRY(thread.Make("take the room of a filter away", SYS_munmap, at, room));
  return {};
}

}  // namespace

Result<> LoadFilters(std::vector<RestoredProcess>& processes,
                     const std::vector<SeccompProgram>& programs) {
  for (RestoredProcess& process : processes) {
    SPORE_ASSIGN(const uintptr_t instruction, FindSyscallInstruction(process.pid));
    SPORE_ASSIGN(const RemoteMemory memory, RemoteMemory::Open(process.pid));
    Tracee& thread = process.threads.front();
    SPORE_TRY(thread.Begin(instruction));
    for (const SeccompProgram& program : programs) SPORE_TRY(LoadOne(thread, memory, program));
    SPORE_TRY(thread.End());
  }
  return {};
}

}  // namespace spore
