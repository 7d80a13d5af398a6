// What spore checkpoint is made of.
#pragma once

#include "tools/spore/context.h"

namespace spore::cli {

// export and import.
void AddCheckpointTransfer(CLI::App& checkpoint, Context& context);

}  // namespace spore::cli
