// The owners of files and sockets in CRIU's images: what it makes anew it gives to them, and
// without privilege it can give nothing to anybody.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace spore {

// Each is of one message, and gives nothing if it is none.
// files.img: sockets that have a path.
std::optional<std::string> EditFilesEntry(std::string_view message, uid_t uid);
// memfd.img
std::optional<std::string> EditMemfdEntry(std::string_view message, uid_t uid);
// The first of ghost-file-*.img, a file without a name: it keeps its length, as contents of any
// length follow it. The file's times are left out.
std::optional<std::string> EditGhostEntry(std::string_view message, uid_t uid);

}  // namespace spore
