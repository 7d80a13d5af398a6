// What a client may make the stdin, stdout and stderr of its script.
#pragma once

#include <string>

#include "sandbox/sys/result.h"

namespace spore {

// Takes a pipe, a socket, a regular file, a terminal, or one of /dev/null, zero, full, random and
// urandom. Refuses a directory and anything opened with O_PATH, through which a script would reach
// the files below, other devices, and what is no file at all (a pidfd, an epoll or io_uring
// instance, a namespace). `stream`: "stdin", which must be readable where it is a regular file,
// "stdout" or "stderr".
Result<> CheckStandardStream(int fd, const std::string& stream);

// Lets a sandbox open a client's own stdout or stderr again: only a pipe, and only for what it is
// open for already.
Result<> LetReopenOutput(int fd);

}  // namespace spore
