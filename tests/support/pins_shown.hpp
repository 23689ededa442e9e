// A source whose pins are counted, and that never has room for a snapshot: a bootstrap stays where it is.
#pragma once

#include <mutex>
#include <set>

#include "crosslink/memory_engine.hpp"

namespace crosslink::test {

/// Notes who pins what.
class PinsShown final : public SourceEngine {
 public:
  explicit PinsShown(MemoryDatabase& of) : database_(&of) {}
  std::size_t pins() const {
    const std::scoped_lock lock(mutex_);
    return pins_.size();
  }
  SourceState source_state() const override { return database_->source_state(); }
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override { return database_->read_log(after, bytes_max); }
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override { return database_->prove(last_entry, at); }
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string>,
                                                        const std::optional<SnapshotId>&) override {
    return MirrorError(ErrorKind::Busy, CausedBy::us, "the bootstrap stays where it is");
  }
  void pin(const std::string& holder, Lsn) override {
    const std::scoped_lock lock(mutex_);
    pins_.insert(holder);
  }
  void unpin(const std::string& holder) override {
    const std::scoped_lock lock(mutex_);
    pins_.erase(holder);
  }
  std::optional<WindowLeft> window_left(Lsn after) const override { return database_->window_left(after); }
  void watch_log(std::function<void(const CommittedLog&)> on_log) override { database_->watch_log(std::move(on_log)); }

 private:
  MemoryDatabase* database_;
  mutable std::mutex mutex_;
  std::set<std::string> pins_;
};

}  // namespace crosslink::test
