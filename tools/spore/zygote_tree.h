// `spore zygote ls --tree`: each image's zygote with those of its library sets below.
#pragma once

#include "spore/v1/spore.pb.h"

namespace spore::cli {

void PrintZygoteTree(const v1::ListZygotesResponse& response);

}  // namespace spore::cli
