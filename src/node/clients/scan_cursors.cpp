#include "node/clients/scan_cursors.hpp"

#include <iterator>

namespace crosslink::node {

std::uint64_t ScanCursors::add(std::string key) {
  const std::scoped_lock lock(mutex_);
  by_age_.emplace_back(++last_, std::move(key));
  by_number_.emplace(last_, std::prev(by_age_.end()));
  if (by_age_.size() > cursors_max) {
    by_number_.erase(by_age_.front().first);
    by_age_.pop_front();
  }
  return last_;
}

std::optional<std::string> ScanCursors::find(std::uint64_t cursor) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_number_.find(cursor);
  if (found == by_number_.end()) return std::nullopt;
  by_age_.splice(by_age_.end(), by_age_, found->second);
  return found->second->second;
}

}  // namespace crosslink::node
