// Traces of a function's invocations, drawn for people and written for trace viewers.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "spore/v1/observability.pb.h"

namespace spore::cli {

using Traces = google::protobuf::RepeatedPtrField<v1::InvocationTrace>;

// What the letters of a bar mean, in one line.
extern const char* const kWaterfallLegend;

// An invocation's phases on a scale of `span_us` from its request on, a letter a column; each phase
// that there was has a column at least. `columns` at least 1.
std::string PhaseBar(const v1::Trace& trace, uint64_t span_us, size_t columns);

// A line an invocation, the oldest first, on one scale.
std::string WaterfallText(const Traces& traces, size_t columns, bool bold_header);

// The Trace Event Format of Chrome's about:tracing and of Perfetto: each instance is a process,
// each of Spore's processes in it a thread.
nlohmann::ordered_json ChromeTrace(const std::string& function, const Traces& traces);

}  // namespace spore::cli
