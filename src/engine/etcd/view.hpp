#pragma once

#include <memory>

#include "crosslink/engine.hpp"
#include "engine/etcd/keys.hpp"

namespace crosslink::etcd {

/// The database at LSN `lsn` as the cluster holds it at `revision`, for as long as that is not compacted. At revision 0
/// it is empty. Without the keys that end as `left_out`, if that is not empty: they are no part of what the source has.
std::shared_ptr<const DataView> make_view(std::shared_ptr<Client> client, KeySpace keys, Lsn lsn, Lsn revision,
                                          std::string left_out);

}  // namespace crosslink::etcd
