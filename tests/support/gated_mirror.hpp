// A mirror that cannot apply until a test lets it.
#pragma once

#include <latch>
#include <span>
#include <string>

#include "crosslink/memory_engine.hpp"

namespace crosslink::test {

/// A mirror whose applies wait until it is opened.
class GatedMirror final : public MirrorEngine {
 public:
  explicit GatedMirror(MemoryDatabase& database) : database_(&database) {}
  void open() { gate_.count_down(); }
  Result<void> apply(const ApplyGroup& group) override {
    gate_.wait();
    return database_->apply(group);
  }
  EngineTraits traits() const override { return database_->traits(); }
  MirrorState mirror_state() const override { return database_->mirror_state(); }
  Result<void> step_back(Lsn from) override { return database_->step_back(from); }
  Result<Lsn> sync() override { return database_->sync(); }
  Result<void> begin_snapshot(const SnapshotFacts& facts) override { return database_->begin_snapshot(facts); }
  Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) override {
    return database_->store_chunk(chunk, bytes);
  }
  Result<SnapshotCheck> check_snapshot() override { return database_->check_snapshot(); }
  Result<void> switch_snapshot() override { return database_->switch_snapshot(); }
  Result<void> drop_snapshot() override { return database_->drop_snapshot(); }
  Result<PromotedFrom> promote(const std::string& cluster, const std::string& database) override {
    return database_->promote(cluster, database);
  }

 private:
  MemoryDatabase* database_;
  std::latch gate_{1};
};

}  // namespace crosslink::test
