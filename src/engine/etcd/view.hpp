#pragma once

#include <memory>

#include "crosslink/engine.hpp"
#include "engine/etcd/keys.hpp"

namespace crosslink::etcd {

/// The database at one revision, for as long as it is not compacted. At revision 0 it is empty.
std::shared_ptr<const DataView> make_view(std::shared_ptr<Client> client, KeySpace keys, Lsn revision);

}  // namespace crosslink::etcd
