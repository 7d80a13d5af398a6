// What CRIU says of a session that it cannot dump, said so that whoever asked can do something.
#pragma once

#include <string_view>

#include "sandbox/sys/result.h"

namespace spore {

// Of its log; what is not known is its own words.
Error DumpComplaint(std::string_view log);

}  // namespace spore
