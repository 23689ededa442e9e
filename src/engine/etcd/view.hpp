#pragma once

#include <memory>

#include "crosslink/engine.hpp"
#include "engine/etcd/keys.hpp"

namespace crosslink::etcd {

/// The database at LSN `lsn` as the cluster holds it at `revision`, for as long as that is not compacted. At revision 0
/// it is empty.
std::shared_ptr<const DataView> make_view(std::shared_ptr<Client> client, KeySpace keys, Lsn lsn, Lsn revision);

}  // namespace crosslink::etcd
