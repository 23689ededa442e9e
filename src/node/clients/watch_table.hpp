// Which connections watch which keys of a database, for WATCH.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "crosslink/entry.hpp"
#include "node/clients/pending_writes.hpp"

namespace crosslink::node {

/// Keys that a connection wants to know of when they are written. Thread safe. It may outlive its table.
class Watch {
 public:
  bool touched() const { return touched_; }
  void touch() { touched_ = true; }

 private:
  friend class WatchTable;
  std::atomic<bool> touched_ = false;
  std::vector<const std::string*> keys_;  // in the table, whose mutex guards it
};

/// Thread safe. Keeps a watch until unwatch(); how many keys there are is for its callers to bound.
class WatchTable {
 public:
  /// False: it watches the key already.
  bool watch(const std::shared_ptr<Watch>& watch, std::string_view key);
  void unwatch(const std::shared_ptr<Watch>& watch);
  /// Does a connection watch a key?
  bool has_any() const { return watched_ > 0; }
  /// These were, or may have been, written.
  void touch(std::span<const Operation> operations);
  /// Any key may be another now.
  void touch_all();
  /// Is a key of it among what is to be committed?
  bool is_written(const Watch& watch, const PendingWrites& pending) const;

 private:
  void touch_everything();
  mutable std::mutex mutex_;
  std::atomic<std::size_t> watched_ = 0;
  /// Where each key is watched, so that a connection's end costs no more than what it watches.
  std::unordered_map<std::string, std::unordered_set<std::shared_ptr<Watch>>> by_key_;
};

}  // namespace crosslink::node
