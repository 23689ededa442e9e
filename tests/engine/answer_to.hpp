#pragma once

#include <string>
#include <variant>

#include "crosslink/testing/engine_steps.hpp"
#include "session/history_judge.hpp"

namespace crosslink::test {

/// What a mirror that stands there is told: "goes on", or the kind of the error.
inline std::string answer_to(SourceEngine& source, const Position& request) {
  auto judged = core::judge_request(source.source_state(), request);
  if (const auto* refused = std::get_if<MirrorError>(&judged)) return std::string(to_string(refused->kind()));
  const auto from = std::get<core::NeedsProof>(judged).from;
  const auto refused = core::judge_proof(must(source.prove(request.last_entry, from)), request);
  return refused ? std::string(to_string(refused->kind())) : "goes on";
}

}  // namespace crosslink::test
