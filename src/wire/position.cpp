#include "crosslink/position.hpp"

#include <algorithm>

#include "crosslink/engine.hpp"

namespace crosslink {
namespace detail {

std::string to_hex(std::span<const std::byte, 16> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text += digits[std::to_integer<std::size_t>(byte >> 4)];
    text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

std::optional<std::array<std::byte, 16>> from_hex(std::string_view text) {
  std::array<std::byte, 16> bytes{};
  if (text.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char digit = text[i];
    const int value = digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
    if (value < 0) return std::nullopt;
    bytes[i / 2] = bytes[i / 2] << 4 | static_cast<std::byte>(value);
  }
  return bytes;
}

}  // namespace detail

std::string_view to_string(HistoryCause cause) {
  switch (cause) {
    case HistoryCause::created: return "created";
    case HistoryCause::unclean_stop: return "unclean_stop";
    case HistoryCause::restamp: return "restamp";
    case HistoryCause::bootstrap: return "bootstrap";
    case HistoryCause::unlogged_change: return "unlogged_change";
  }
  return "";
}

std::string_view to_string(DatabaseRole role) {
  switch (role) {
    case DatabaseRole::root: return "root";
    case DatabaseRole::mirror: return "mirror";
    case DatabaseRole::promoted: return "promoted";
  }
  return "";
}

Result<History> History::from_records(std::vector<HistoryRecord> records, std::vector<Incarnation> trimmed) {
  if (records.empty() || records.size() > history_records_max || trimmed.size() > history_records_max) {
    return MirrorError::protocol_violation("a history is empty or too long");
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (i > 0 && records[i].first_lsn < records[i - 1].first_lsn) {
      return MirrorError::protocol_violation("a history goes back");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (records[j].incarnation == records[i].incarnation) {
        return MirrorError::protocol_violation("a history names an incarnation twice");
      }
    }
  }
  return History(Lists{std::move(records), std::move(trimmed)});
}

History History::beginning(HistoryRecord first) { return History(Lists{{first}, {}}); }

const History::Lists& History::lists() const {
  static const Lists none;
  return lists_ ? *lists_ : none;
}

bool History::contains(const Incarnation& incarnation) const {
  return std::ranges::find(lists().records, incarnation, &HistoryRecord::incarnation) != lists().records.end();
}

std::optional<Lsn> History::end_of(const Incarnation& incarnation, Lsn head) const {
  const auto& records = lists().records;
  const auto found = std::ranges::find(records, incarnation, &HistoryRecord::incarnation);
  if (found == records.end()) return std::nullopt;
  const auto next = std::next(found);
  if (next == records.end()) return head;
  return Lsn{next->first_lsn.value == 0 ? 0 : next->first_lsn.value - 1};
}

const Incarnation& History::incarnation_at(Lsn lsn) const {
  const auto& records = lists().records;
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (record->first_lsn <= lsn) return record->incarnation;
  }
  return records.front().incarnation;
}

void History::append(HistoryRecord record) {
  auto next = lists();
  next.records.push_back(record);
  if (next.records.size() > history_records_max) {
    next.trimmed.push_back(next.records.front().incarnation);
    next.records.erase(next.records.begin());
    if (next.trimmed.size() > history_records_max) next.trimmed.erase(next.trimmed.begin());
  }
  lists_ = std::make_shared<const Lists>(std::move(next));
}

}  // namespace crosslink
