// What destinations of events are sent: AWS Lambda's invocation record.
#pragma once

#include <cstdint>
#include <string>

#include "spore/v1/async.pb.h"

namespace spore {

// "2026-01-31T12:00:00.000Z".
std::string IsoTime(int64_t unix_ms);

// Of an event that has ended, with its whole payload. `response`: the handler's, when it succeeded.
// What of payload and response is not JSON becomes null. Where the record would be longer than
// `max_bytes`, the response becomes null, then the payload.
std::string InvocationRecord(const v1::AsyncEvent& event, const std::string& response,
                             int64_t now_unix_ms, uint64_t max_bytes);

}  // namespace spore
