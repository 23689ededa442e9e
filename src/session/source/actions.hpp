// What a mirror's session at the source asks its driver to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "session/lag_tracker.hpp"
#include "session/session_tokens.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::core {

/// A slice of log as it goes onto the wire: encoded and compressed once, shared by all mirrors that need it.
struct LogPiece {
  LogSlice slice;
  SharedBytes data;  ///< slice.entries, compressed if codec says so
  std::string codec = std::string(codec_none);
  std::uint32_t crc32c = 0;  ///< of data
};

namespace source_action {
/// One whole frame: head, then data[data_at, data_at + data_bytes). For a bulk frame the driver says on_written() once
/// the transport has taken it; until then the session sends no other bulk frame on that stream.
struct Send {
  StreamToken stream = 0;
  std::vector<std::byte> head;
  SharedBytes data;  ///< null for a control frame
  std::size_t data_at = 0, data_bytes = 0;
};
struct EndStream {
  StreamToken stream = 0;
};  ///< after what was sent; nothing more is read from it
struct Close {
  std::uint64_t code = 0;
  MirrorError error;
};  ///< after what was sent. The session is over; nothing comes after it
struct ReadLog {
  Question question = 0;
  Lsn after;
  std::size_t bytes_max = 0;
  bool zstd = false;
};  ///< on_log
struct Prove {
  Question question = 0;
  EntryId last_entry;
  Lsn at;
};  ///< on_proof
struct Pin {
  Lsn from;
};
struct Unpin {};
struct OpenSnapshot {
  Question question = 0;
  std::vector<std::string> formats;
  std::optional<SnapshotId> wanted;
};  ///< on_snapshot
struct ReadSnapshot {
  Question question = 0;
  std::uint64_t offset = 0;
  std::size_t bytes_max = 0;
};  ///< on_snapshot_piece
struct CloseSnapshot {};
struct OpenView {
  Question question = 0;
};  ///< on_view
struct DigestRange {
  Question question = 0;
  KeyRange range;
};  ///< on_digest
struct ListKeys {
  Question question = 0;
  KeyRange range;
};  ///< on_keys
struct CloseView {};
/// The mirror says how far it is, in the history whose newest incarnation is `incarnation`: for sync mode and for
/// people.
struct MirrorAt {
  Incarnation incarnation;
  Lsn applied, durable;
};
struct Wake {
  Instant at;
};  ///< call on_time() then, or earlier
}  // namespace source_action
using SourceAction =
    std::variant<source_action::Send, source_action::EndStream, source_action::Close, source_action::ReadLog,
                 source_action::Prove, source_action::Pin, source_action::Unpin, source_action::OpenSnapshot,
                 source_action::ReadSnapshot, source_action::CloseSnapshot, source_action::OpenView,
                 source_action::DigestRange, source_action::ListKeys, source_action::CloseView, source_action::MirrorAt,
                 source_action::Wake>;

}  // namespace crosslink::core
