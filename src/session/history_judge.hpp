// Which log goes on after a LogRequest: docs/protocol.md, the table of that name. Pure.
#pragma once

#include <optional>
#include <variant>

#include "wire/session_frames.hpp"

namespace crosslink::core {

/// Rules 1 to 4 hold: rule 5 must be asked of the engine, `prove(request's last entry, from)`.
struct NeedsProof {
  Lsn from;
};
std::variant<MirrorError, NeedsProof> judge_request(const SourceState& source, const Position& request);
/// Rule 5. nullopt: the log goes on.
std::optional<MirrorError> judge_proof(PositionProof proof, const Position& request);

}  // namespace crosslink::core
