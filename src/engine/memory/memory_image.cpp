#include "engine/memory/memory_image.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace crosslink::memory {

void Image::apply(const EntryView& entry) {
  entry.for_each([this](const Operation& operation) {
    switch (operation.kind) {
      case OperationKind::put: {
        Stored stored{std::make_shared<const std::string>(operation.value), operation.lease};
        const auto found = pairs.find(operation.key);
        if (found == pairs.end()) {
          pairs.emplace(operation.key, std::move(stored));
        } else {
          found->second = std::move(stored);
        }
        return;
      }
      case OperationKind::erase: {
        const auto found = pairs.find(operation.key);
        if (found != pairs.end()) pairs.erase(found);
        return;
      }
      case OperationKind::erase_range:
        pairs.erase(pairs.lower_bound(operation.key), operation.end ? pairs.lower_bound(*operation.end) : pairs.end());
    }
  });
}

void Image::append(LogItem item) {
  log_bytes += item.encoding->size();
  logged_bytes += item.encoding->size();
  item.end_bytes = logged_bytes;
  log.push_back(std::move(item));
}

void Image::drop_front() {
  last_dropped = log.front().id;
  oldest = last_dropped.lsn;
  log_bytes -= log.front().encoding->size();
  log.pop_front();
}

EntryId Image::last_entry_at(Lsn at) const {
  const auto after = std::ranges::upper_bound(log, at, {}, [](const LogItem& item) { return item.id.lsn; });
  return after == log.begin() ? last_dropped : std::prev(after)->id;
}

}  // namespace crosslink::memory
