#include "session/history_judge.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "session/mistakes.hpp"

namespace crosslink::core {
namespace {

MirrorError window_exceeded(const SourceState& source, std::string why) {
  return {ErrorKind::LogWindowExceeded, CausedBy::peer, std::move(why), LogWindow{source.oldest, source.head}};
}

/// Of an incarnation that the history does not name: it went with data that was replaced since, or was cut off.
bool was_replaced_or_trimmed(const SourceState& source, const Position& request) {
  if (source.role == DatabaseRole::mirror) return true;  // what it has is its source's, and comes anew from there
  const auto& first = source.history.records().front();
  if (first.cause == HistoryCause::unlogged_change) return true;
  const bool is_before = request.applied_lsn < first.first_lsn;
  if (first.cause == HistoryCause::bootstrap && is_before) return true;
  const auto trimmed = source.history.trimmed();
  const bool forgets = trimmed.size() == history_records_max;  // then more were cut off than it names
  return (forgets && is_before) || std::ranges::find(trimmed, request.incarnation) != trimmed.end();
}

MirrorError behind(const SourceState& source, const Position& request, Lsn end) {
  if (source.role == DatabaseRole::mirror) {
    if (source.origin_lsn < request.origin_lsn) {
      return {ErrorKind::Busy, CausedBy::peer,
              fmt::format("the source is a mirror itself and has come to LSN {} of the root, not yet to {}",
                          source.origin_lsn.value, request.origin_lsn.value)};
    }
    return window_exceeded(source, "the source's own data was taken back and has caught up since");
  }
  if (makes(Mistake::restored_source_taken_for_window)) return window_exceeded(source, "the window has passed");
  return {
      ErrorKind::SourceBehind, CausedBy::peer,
      fmt::format("the mirror has entries up to LSN {}, the source's log ends at {}: it lost its tail or was restored",
                  request.last_entry.lsn.value, end.value),
      AtLsn{end}};
}

}  // namespace

std::variant<MirrorError, NeedsProof> judge_request(const SourceState& source, const Position& request) {
  if (makes(Mistake::history_check_left_out)) return NeedsProof{std::min(request.applied_lsn, source.head)};
  if (request.origin != source.origin) {
    return MirrorError(ErrorKind::OriginChanged, CausedBy::peer,
                       fmt::format("the source's data began as {}, the mirror's as {}: it was emptied or made anew",
                                   to_string(source.origin), to_string(request.origin)));
  }
  const auto end = source.history.end_of(request.incarnation, source.head);
  if (!end) {
    if (was_replaced_or_trimmed(source, request)) {
      return window_exceeded(source, "the source's data was replaced since, or its history cut");
    }
    return MirrorError(ErrorKind::HistoriesParted, CausedBy::peer,
                       "the source does not know the incarnation the mirror follows: it was restored from before it",
                       AtLsn{request.last_entry.lsn});
  }
  if (request.last_entry.lsn > *end) return behind(source, request, *end);
  const auto from = std::min(request.applied_lsn, *end);
  if (from < source.oldest) {
    return window_exceeded(
        source, fmt::format("the log after LSN {} is no longer held, only after {}", from.value, source.oldest.value));
  }
  return NeedsProof{from};
}

std::optional<MirrorError> judge_proof(PositionProof proof, const Position& request) {
  switch (proof) {
    case PositionProof::same:
    case PositionProof::unverified: return std::nullopt;
    case PositionProof::diverged:
      if (makes(Mistake::history_check_left_out)) return std::nullopt;
      return MirrorError(ErrorKind::HistoriesParted, CausedBy::peer,
                         fmt::format("the entry at LSN {} is another one at the source: both were written on",
                                     request.last_entry.lsn.value),
                         AtLsn{request.last_entry.lsn});
  }
  return std::nullopt;
}

}  // namespace crosslink::core
