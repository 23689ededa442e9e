#include "sim/entries.hpp"

#include <fmt/format.h>

#include "crosslink/entry.hpp"

namespace crosslink::sim {
namespace {

/// Takes the next one off: the marker that it writes.
Result<std::string> take_marker(std::span<const std::byte>& bytes) {
  const auto entry = read_entry(bytes);
  if (!entry) return entry.error();
  std::string marker;
  entry->for_each([&](const Operation& operation) {
    if (operation.key == marker_key) marker = std::string(operation.value);
  });
  return marker;
}

}  // namespace

Entries judge_entries(const Oracle& oracle, const ApplyGroup& group, const Node* at, const std::string& who) {
  Entries judged{at, 0};
  for (auto bytes : group.entries) {
    while (!bytes.empty()) {
      const auto marker = take_marker(bytes);
      if (!marker) throw Violation(who + " applies what is no entry: " + marker.error().message());
      const auto* next = oracle.by_marker(*marker);
      if (next == nullptr || next->parent != judged.after) {
        throw Violation(fmt::format("{} applies the commit {} on top of {}, where it does not belong", who, *marker,
                                    judged.after->marker));
      }
      judged.after = next;
      ++judged.count;
    }
  }
  return judged;
}

void note_entries(Oracle& oracle, const ApplyGroup& group, const Oracle::Log& log, Lsn head) {
  auto lsn = head.value;
  for (auto bytes : group.entries) {
    while (!bytes.empty()) {
      const auto marker = take_marker(bytes);
      oracle.stands_at(log, ++lsn, oracle.by_marker(*marker));
    }
  }
}

}  // namespace crosslink::sim
