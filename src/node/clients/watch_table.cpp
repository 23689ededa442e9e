#include "node/clients/watch_table.hpp"

#include <algorithm>

namespace crosslink::node {

bool WatchTable::watch(const std::shared_ptr<Watch>& watch, std::string_view key) {
  const std::scoped_lock lock(mutex_);
  const auto place = by_key_.try_emplace(std::string(key)).first;
  if (!place->second.insert(watch).second) return false;
  watch->keys_.push_back(&place->first);
  ++watched_;
  return true;
}

void WatchTable::unwatch(const std::shared_ptr<Watch>& watch) {
  const std::scoped_lock lock(mutex_);
  watched_ -= watch->keys_.size();
  for (const auto* const key : watch->keys_) {
    const auto found = by_key_.find(*key);
    if (found == by_key_.end()) continue;
    found->second.erase(watch);
    if (found->second.empty()) by_key_.erase(found);
  }
  watch->keys_.clear();
}

/// With the mutex held.
void WatchTable::touch_everything() {
  for (const auto& [key, watches] : by_key_) {
    for (const auto& watch : watches)
      watch->touched_ = true;
  }
}

void WatchTable::touch(std::span<const Operation> operations) {
  if (watched_ == 0) return;
  const std::scoped_lock lock(mutex_);
  for (const auto& operation : operations) {
    if (operation.kind == OperationKind::erase_range) return touch_everything();
    const auto found = by_key_.find(std::string(operation.key));
    if (found == by_key_.end()) continue;
    for (const auto& watch : found->second)
      watch->touched_ = true;
  }
}

void WatchTable::touch_all() {
  const std::scoped_lock lock(mutex_);
  touch_everything();
}

bool WatchTable::is_written(const Watch& watch, const PendingWrites& pending) const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(watch.keys_, [&](const std::string* key) { return pending.writes(*key); });
}

}  // namespace crosslink::node
