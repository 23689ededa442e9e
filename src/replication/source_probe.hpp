// What a source says of itself, asked without mirroring anything: for dry runs, and before old data is put aside.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/engine.hpp"
#include "crosslink/link.hpp"
#include "crosslink/position.hpp"

namespace crosslink::replication {

struct SourceFacts {
  MirrorHelloAck ack;
  std::string software;
  std::vector<std::string> chain;  ///< "cluster/database" of the source and of what it follows, up to the root
  Incarnation origin;
  History history;
  std::optional<PromotedFrom> promoted_from;
  bool sync_named = false;                               ///< it names us in sync_mirrors
  std::optional<std::string> key_prefix = std::nullopt;  ///< what its keys begin with; absent: it did not say
};

/// Connects `link`, begins a session, and closes the link again. Errors: those of CrossClusterLink::connect and of
/// streams; what the source refuses a session with; ProtocolViolation; Timeout (5 s for the session's beginning).
Task<SourceFacts> probe_source(CrossClusterLink& link, bool sync);

}  // namespace crosslink::replication
