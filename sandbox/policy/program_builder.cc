#include "sandbox/policy/program_builder.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sandbox/sys/unique_fd.h"

namespace spore {

ProgramBuilder::ProgramBuilder(uint32_t default_action, uint32_t foreign)
    : context_(seccomp_init(default_action)) {
  if (!context_) {
    Note(-ENOMEM, "seccomp_init");
    return;
  }
  // They have other numbers: no table speaks of them.
  Note(seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, foreign),
       "seccomp_attr_set ACT_BADARCH");
  // A binary tree: the kernel runs a new program once for every call number, see seccomp_program.h.
  Note(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2),
       "seccomp_attr_set CTL_OPTIMIZE");
}

void ProgramBuilder::Add(uint32_t action, std::string_view name,
                         std::span<const scmp_arg_cmp> comparisons) {
  if (error_.errno_value != 0) return;
  const std::string text(name);
  const int number = seccomp_syscall_resolve_name(text.c_str());
  if (number == __NR_SCMP_ERROR) {
    Note(-EINVAL, "no system call of that name: " + text);
    return;
  }
  if (number < 0) return;  // other architectures have it
  Note(seccomp_rule_add_array(context_.get(), action, number,
                              static_cast<unsigned>(comparisons.size()), comparisons.data()),
       "seccomp_rule_add " + text);
}

void ProgramBuilder::Add(uint32_t action, std::span<const CallGroup> groups) {
  for (const CallGroup& group : groups)
    for (std::string_view name : group.names) Add(action, name);
}

// libseccomp 2.5 exports to a descriptor only.
Result<SeccompProgram> ProgramBuilder::Export() {
  if (error_.errno_value != 0) return tl::unexpected(std::move(error_));
  UniqueFd memory(memfd_create("seccomp", MFD_CLOEXEC));
  if (!memory) return SysError("memfd_create");
  if (int rc = seccomp_export_bpf(context_.get(), memory.get()); rc < 0)
    return SysErrorOf(-rc, "seccomp_export_bpf");
  struct stat status;
  if (fstat(memory.get(), &status) < 0) return SysError("fstat", "memfd");
  SeccompProgram program;
  const size_t bytes = static_cast<size_t>(status.st_size);
  program.instructions.resize(bytes / sizeof(sock_filter));
  if (pread(memory.get(), program.instructions.data(), bytes, 0) != status.st_size)
    return SysError("read", "seccomp program");
  if (program.instructions.size() > BPF_MAXINSNS)
    return MakeError(ErrorKind::kInternal, "seccomp program is too long for the kernel");
  return program;
}

void ProgramBuilder::Note(int rc, std::string_view what) {
  if (rc >= 0 || error_.errno_value != 0) return;
  error_ = Error{ErrorKind::kInternal, -rc, std::string(what), {}, {}};
}

}  // namespace spore
