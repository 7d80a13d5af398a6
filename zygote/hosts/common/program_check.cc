#include "zygote/hosts/common/program_check.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

// As much as the kernel looks at (BINPRM_BUF_SIZE).
constexpr size_t kHeadBytes = 256;
constexpr size_t kMaxProgramHeaders = 64;

const char* MachineName(unsigned machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_X86_64:
      return "x86-64";
    case EM_ARM:
      return "32-bit Arm";
    case EM_AARCH64:
      return "AArch64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "POWER";
    case EM_S390:
      return "S/390";
    default:
      return "another architecture";
  }
}

std::string_view Head(int fd, std::array<char, kHeadBytes>& buffer) {
  const ssize_t got = pread(fd, buffer.data(), buffer.size(), 0);
  return {buffer.data(), got > 0 ? static_cast<size_t>(got) : 0};
}

bool IsElf(std::string_view head) {
  return head.size() >= sizeof(Elf64_Ehdr) && head.starts_with(ELFMAG);
}

Elf64_Ehdr ElfHeader(std::string_view head) {
  Elf64_Ehdr header;
  memcpy(&header, head.data(), sizeof header);
  return header;
}

// i386 and x32 programs would start, and be killed at their first system call (seccomp.h).
bool HasForeignCalls(const Elf64_Ehdr& header) {
  return header.e_ident[EI_CLASS] == ELFCLASS32 &&
         (header.e_machine == EM_386 || header.e_machine == EM_X86_64);
}

// The path in PT_INTERP; empty: none.
std::string Loader(int fd, const Elf64_Ehdr& header) {
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr)) return {};
  for (size_t i = 0; i < header.e_phnum && i < kMaxProgramHeaders; ++i) {
    Elf64_Phdr segment;
    const auto at = static_cast<off_t>(header.e_phoff + i * sizeof segment);
    if (pread(fd, &segment, sizeof segment, at) != sizeof segment) return {};
    if (segment.p_type != PT_INTERP) continue;
    char path[256] = {};
    const size_t bytes = std::min<size_t>(segment.p_filesz, sizeof path - 1);
    if (pread(fd, path, bytes, static_cast<off_t>(segment.p_offset)) < 0) return {};
    return path;
  }
  return {};
}

// The interpreter that a script's first line names.
std::string_view Interpreter(std::string_view head) {
  head.remove_prefix(2);
  head = head.substr(0, head.find('\n'));
  head.remove_prefix(std::min(head.find_first_not_of(" \t"), head.size()));
  return head.substr(0, head.find_first_of(" \t"));
}

std::optional<ProgramProblem> CheckScript(std::string_view head) {
  std::string interpreter(Interpreter(head));
  const bool has_return = interpreter.ends_with('\r');
  if (has_return) interpreter.pop_back();
  if (interpreter.empty()) return ProgramProblem{false, "its #! line names no interpreter"};
  if (has_return)
    return ProgramProblem{false,
                          "its #! line ends in a carriage return (a file with DOS line ends?)"};
  const std::optional<ProgramProblem> problem = CheckExecutable(interpreter);
  if (!problem) return {};
  return ProgramProblem{false, "bad interpreter: " + interpreter + ": " + problem->text};
}

std::optional<ProgramProblem> CheckElf(int fd, const Elf64_Ehdr& header) {
  if (HasForeignCalls(header)) {
    return ProgramProblem{false, std::string("a program for ") +
                                     (header.e_machine == EM_386 ? MachineName(EM_386) : "x32") +
                                     ", whose system calls are not allowed here"};
  }
  if (header.e_type == ET_REL || header.e_type == ET_CORE)
    return ProgramProblem{false, header.e_type == ET_REL ? "an object file, not a program"
                                                         : "a core file, not a program"};
  const std::string loader = Loader(fd, header);
  if (loader.empty() || access(loader.c_str(), F_OK) == 0) return {};
  return ProgramProblem{false, "its dynamic linker " + loader + " is not in the image"};
}

}  // namespace

std::optional<ProgramProblem> CheckExecutable(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return ProgramProblem{true, "not found in the image"};
    return ProgramProblem{false, strerrordesc_np(errno)};
  }
  if (S_ISDIR(info.st_mode)) return ProgramProblem{false, "a directory"};
  if (!S_ISREG(info.st_mode)) return ProgramProblem{false, "not a regular file"};
  if (access(path.c_str(), X_OK) < 0) return ProgramProblem{false, "not executable"};
  return {};
}

std::optional<ProgramProblem> CheckProgram(const std::string& path) {
  if (auto problem = CheckExecutable(path)) return problem;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return {};  // may be executed all the same
  std::array<char, kHeadBytes> buffer{};
  const std::string_view head = Head(file.get(), buffer);
  if (head.starts_with("#!")) return CheckScript(head);
  if (IsElf(head)) return CheckElf(file.get(), ElfHeader(head));
  return {};
}

std::string DescribeExecFailure(const std::string& path, int error) {
  if (error == E2BIG) return "arguments and environment are too long together";
  if (error != ENOEXEC) return strerrordesc_np(error);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, kHeadBytes> buffer{};
  const std::string_view head = Head(file.get(), buffer);
  if (head.empty()) return "an empty file";
  if (IsElf(head) && ElfHeader(head).e_machine != EM_X86_64) {
    return std::string("a program for ") + MachineName(ElfHeader(head).e_machine) +
           ", which this host is not";
  }
  if (head.starts_with(ELFMAG)) return "a damaged program";
  return "neither a program nor a script that begins with #!";
}

}  // namespace spore
