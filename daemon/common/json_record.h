// Small records beside what they describe: one message of the protocol as a JSON file in a folder
// that is held open. Blocks.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>

#include "sandbox/sys/result.h"

namespace spore {

// A new file, synced. kPrecondition: it takes more than `most` bytes.
Result<> WriteJsonRecord(int folder, const char* name, const google::protobuf::Message& record,
                         size_t most);
// kPrecondition: it is damaged. What a later Spore has put there is ignored.
Result<> ReadJsonRecord(int folder, const char* name, size_t most,
                        google::protobuf::Message* record);

}  // namespace spore
