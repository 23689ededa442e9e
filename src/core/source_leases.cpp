#include "core/source_session.hpp"

namespace crosslink::core {

/// Before what uses them. What was told is forgotten now and then: told again, nothing comes of it.
void SourceSession::tell_leases(Bulk& bulk, const std::vector<LeaseGrant>& leases) {
  for (const auto& grant : leases) {
    if (bulk.leases_told.size() >= leases_waiting_max) bulk.leases_told.clear();
    if (bulk.leases_told.insert(grant.lease).second) send(bulk.token, LeaseInfo{grant.lease, grant.ttl_s});
  }
}

}  // namespace crosslink::core
