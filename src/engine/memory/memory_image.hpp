// What a database in memory consists of. A plain value: a copy is a backup, or what is on an imaginary disk.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/engine.hpp"

namespace crosslink::memory {

struct Stored {
  std::shared_ptr<const std::string> value;
  std::optional<std::uint64_t> lease;
};
using Pairs = std::map<std::string, Stored, std::less<>>;

struct LogItem {
  EntryId id;
  SharedBytes encoding;
  Lsn origin_lsn;
  std::uint64_t end_bytes = 0;  ///< of every entry ever logged, this one included
};

struct Image {
  DatabaseRole role = DatabaseRole::root;
  Incarnation origin;
  History history;
  Pairs pairs;
  Lsn head, oldest, origin_lsn;
  std::deque<LogItem> log;                        ///< everything after `oldest`, in order
  std::uint64_t log_bytes = 0, logged_bytes = 0;  ///< in the log now; ever
  EntryId last_dropped;                           ///< the last entry that left the log; none: there was none
  std::optional<Position> position;
  std::optional<PromotedFrom> promoted_from;

  void apply(const EntryView& entry);
  void append(LogItem item);
  void drop_front();
  /// The last entry at or before `at`. Precondition: at >= oldest.
  EntryId last_entry_at(Lsn at) const;
};

}  // namespace crosslink::memory
