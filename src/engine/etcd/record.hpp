// What a mirror keeps of itself in the target: the key /crosslink/NAME, rewritten in every transaction that moves the
// position, and the keys below it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crosslink/engine.hpp"

namespace crosslink::etcd {

struct Record {
  DatabaseRole role = DatabaseRole::mirror;
  bool bootstrapping = false;  ///< the data is of no moment: a snapshot is being written over it
  bool promoting = false;      ///< a promotion has begun: it is finished, or taken back
  /// While promoting: from it come the numbers of the leases that are granted anew.
  std::optional<SnapshotId> lease_seed;
  std::optional<SnapshotId> snapshot;  ///< the last one that was, or is being, switched in
  std::optional<Position> position;
  Lsn consistent_lsn;
  crosslink::History history;
  std::optional<PromotedFrom> promoted_from;
  std::string prefix, source_prefix;
  std::optional<MirrorId> id;  ///< of the mirror, whichever node follows for it; absent in one of an older version
  std::string owner;           ///< node
  std::uint64_t epoch = 0;
  std::string write_id;  ///< of the write that made it: tells what an attempt of unknown outcome came to
  /// An entry too large for one transaction is under way: so many changes of the list are done that the node which
  /// began it has on disk. Another node makes a list of its own, and begins anew.
  struct Split {
    Lsn lsn;
    EntryHash hash;
    SnapshotId list;
    std::uint64_t done = 0;
    friend bool operator==(const Split&, const Split&) = default;
  };
  std::optional<Split> split;
  friend bool operator==(const Record&, const Record&) = default;
};

std::string encode_record(const Record& record);
/// Errors: UnsupportedOperation: it is none, or of a newer crosslink.
Result<Record> decode_record(std::string_view value);

// Keys of a mirror beside its record.
std::string record_key(const std::string& name);
std::string owner_key(const std::string& name);
std::string bootstrap_key(const std::string& name);
/// Below it: the granted TTL of each lease, by its number in hex.
std::string leases_prefix(const std::string& name);
/// Below it: the lease of each key that had one at the source, by the key as it is in the target.
std::string leased_prefix(const std::string& name);

}  // namespace crosslink::etcd
