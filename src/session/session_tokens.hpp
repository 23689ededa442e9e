// How machines and their drivers name what is under way.
#pragma once

#include <cstdint>

namespace crosslink::core {

/// A stream, as its driver names it; never used again within a session.
using StreamToken = std::uint64_t;
/// A question to the engine; its answer quotes it. Answers to questions that nothing waits for any more are ignored.
using Question = std::uint64_t;

}  // namespace crosslink::core
