// Small files that a database in etcd keeps beside it: what is under way, and what an operator agreed to.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/files.hpp"
#include "crosslink/result.hpp"
#include "engine/etcd/record.hpp"
#include "engine/etcd/txn.hpp"

namespace crosslink::etcd {

/// A folder's; the same after a kill and a power cut as before it, once a call has returned. Errors of all: Storage.
class Notes {
 public:
  Notes(base::Files files, base::Path folder) : files_(std::move(files)), folder_(std::move(folder)) {}

  /// The changes of an entry that goes in several transactions. `space`: what they take is looked at first.
  Result<void> write_split(const Record::Split& split, std::span<const Change> changes, const base::Space& space) const;
  /// Absent: what is there is of another split, or nothing is.
  Result<std::optional<std::vector<Change>>> read_split(const Record::Split& split) const;
  /// A power cut may bring it back: it says itself which split it is of.
  Result<void> drop_split() const { return files_.remove(split_file()); }

  /// The first bootstrap may delete what stood at the place at that revision; 0: nothing.
  Result<void> write_agreement(std::int64_t revision) const;
  Result<std::int64_t> read_agreement() const;

 private:
  base::Path split_file() const { return folder_ / "split"; }
  base::Path agreement_file() const { return folder_ / "agreed_to_deletions"; }
  base::Files files_;
  base::Path folder_;
};

}  // namespace crosslink::etcd
