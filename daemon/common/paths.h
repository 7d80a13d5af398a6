// Where Spore's own programs and runtime hosts are: the installed places, or what SPORE_LIBEXEC and
// SPORE_HOSTS say (a build tree that was not installed).
#pragma once

#include <string>

namespace spore {

std::string LibexecDirectory();  // holds spore-zygote and spore-unpack
std::string HostsDirectory();    // holds a folder for each runtime: python/host.py

}  // namespace spore
