// Why a file cannot be executed, in words. The kernel has four errno values for a dozen reasons.
#pragma once

#include <optional>
#include <string>

namespace spore {

struct ProgramProblem {
  bool missing = false;  // it is not there at all
  std::string text;
};

// The file itself: there, a regular file, executable.
std::optional<ProgramProblem> CheckExecutable(const std::string& path);
// What it holds, too: a program that the kernel would start only for it to fail without a word, or
// whose loader or interpreter is missing. What cannot be told is left to the kernel.
std::optional<ProgramProblem> CheckProgram(const std::string& path);
// After an execve(2) that has failed.
std::string DescribeExecFailure(const std::string& path, int error);

}  // namespace spore
