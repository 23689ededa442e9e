// What a mirror's machine wants of its engine, done.
#pragma once

#include <memory>

#include "crosslink/mirror.hpp"
#include "session/mirror/mirror_machine.hpp"

namespace crosslink::replication {

/// Whose work it is. References outlive the call.
struct OnEngine {
  MirrorEngine& engine;
  VerifiableEngine* verifiable;
  const MirrorOptions& options;
  const CrossClusterLink& link;
};
/// Blocks as long as the engine does. `opened`: the view that OpenView makes.
Result<core::EngineAnswer> carry_out_on_engine(const OnEngine& on, const core::MirrorAction& request,
                                               std::shared_ptr<const DataView>& opened);

}  // namespace crosslink::replication
