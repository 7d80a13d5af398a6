// The program of `spore run`: which one is meant, and what of it is sent.
#pragma once

#include <string>

#include "tools/client/fd.h"
#include "tools/spore/context.h"

namespace spore::cli {

// A word without a slash is looked up in the image's PATH, a path below /usr, /bin, /sbin or /lib*
// means the image's file; any other path is a file of the caller's.
bool IsProgramOfImage(const std::string& word);

// A sealed copy of the caller's program. Fails as a shell does: 127 when there is no such file,
// 126 when it cannot be executed. With `executed` false it is an archive, and no mode bit is asked.
Expected<client::Fd> LoadProgram(const std::string& path, bool executed);

}  // namespace spore::cli
