#include <fmt/format.h>
#include <fmt/ranges.h>

#include "crosslink/source.hpp"

namespace crosslink {

SnapshotDecision default_snapshot_decision(Lsn last_applied, const std::optional<SnapshotDecision>& latest_snapshot) {
  if (latest_snapshot && last_applied < latest_snapshot->snapshot_lsn) return *latest_snapshot;
  return {};
}

// These sentences travel in an ack, where quotes would be escaped twice: names stand without.
std::optional<MirrorError> judge_hello(const MirrorHello& hello, std::span<const std::string> peer_names,
                                       const SourcePolicy& policy) {
  if (hello.protocol_version != protocol_version) {
    return MirrorError(
        ErrorKind::ProtocolVersionMismatch, CausedBy::peer,
        fmt::format("the mirror speaks protocol version {}, this source {}", hello.protocol_version, protocol_version),
        VersionMismatch{protocol_version});
  }
  if (!equal_ignoring_case(hello.source_cluster.str(), policy.cluster_id.str())) {
    return MirrorError(ErrorKind::ClusterIdMismatch, CausedBy::peer,
                       fmt::format("the mirror asked for cluster {}, this is {}", escape(hello.source_cluster.str()),
                                   escape(policy.cluster_id.str())),
                       ClusterIds{hello.source_cluster.str(), policy.cluster_id.str()});
  }
  const auto& database = hello.source_database_id;
  if (!policy.authorize || !policy.authorize(peer_names, database)) {
    return MirrorError(ErrorKind::NotAuthorized, CausedBy::peer,
                       fmt::format("there is no database {} here that a mirror with the certificate names {} may see",
                                   escape(database.str()), escape(fmt::format("{}", fmt::join(peer_names, ", ")))));
  }
  if (!policy.database_exists || !policy.database_exists(database)) {
    return MirrorError(ErrorKind::UnknownDatabase, CausedBy::peer,
                       fmt::format("there is no database {} here", escape(database.str())),
                       DatabaseName{database.str()});
  }
  if (policy.admit) return policy.admit(hello, peer_names);
  return std::nullopt;
}

}  // namespace crosslink
