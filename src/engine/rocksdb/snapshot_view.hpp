// A database's contents at one of its LSNs, for verify.
#pragma once

#include <memory>

#include "engine/rocksdb/live.hpp"

namespace crosslink::rocks {

/// Does the pair it stands on have other columns than the one that a plain value is?
bool has_wide_columns(const rocksdb::Iterator& pairs);

/// As the contents are now. Of a pair with wide columns the value is all of them, so that they count in a comparison.
/// RocksDB shows no commit half way, and its number is the commit's LSN.
class SnapshotView final : public DataView {
 public:
  explicit SnapshotView(std::shared_ptr<Live> live)
      : live_(std::move(live)), snapshot_(live_->db().GetSnapshot()), lsn_{snapshot_->GetSequenceNumber()} {}
  ~SnapshotView() override { live_->db().ReleaseSnapshot(snapshot_); }
  SnapshotView(const SnapshotView&) = delete;
  SnapshotView& operator=(const SnapshotView&) = delete;
  Lsn lsn() const override { return lsn_; }
  Result<void> scan(std::string_view begin, std::optional<std::string_view> end,
                    const std::function<bool(const KeyValue&)>& visit) const override;

 private:
  std::shared_ptr<Live> live_;
  const rocksdb::Snapshot* snapshot_;
  Lsn lsn_;
};

}  // namespace crosslink::rocks
