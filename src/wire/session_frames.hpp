// The frames of a session and their bytes: docs/protocol.md, "Sessions". Names and ranges are those of the document.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "crosslink/engine.hpp"
#include "crosslink/frame.hpp"
#include "crosslink/position.hpp"
#include "crosslink/result.hpp"
#include "crosslink/sync_mode.hpp"

namespace crosslink::core {

inline constexpr std::size_t bulk_map_bytes_max = 1024;
inline constexpr std::size_t bulk_payload_bytes_max = bulk_data_bytes_max + bulk_map_bytes_max;
inline constexpr std::size_t chain_max = 16;
inline constexpr std::uint64_t sync_timeout_ms_max = 1000ull * 3600 * 24 * 365;
inline constexpr std::size_t formats_max = 8;
inline constexpr std::size_t codecs_max = 8;
inline constexpr std::size_t splits_max = 15;
inline constexpr std::size_t listed_keys_max = 64;
/// Least that either side may hold in flight: less would not hold two bulk frames.
inline constexpr std::uint64_t in_flight_bytes_min = 2 * 1024 * 1024;

/// Bits of SessionBegin's `features`.
inline constexpr std::uint64_t feature_verify = 1;
inline constexpr std::uint64_t feature_limit = 2;

inline constexpr std::string_view codec_none = "none";
inline constexpr std::string_view codec_zstd = "zstd";

struct SessionBegin {
  std::uint64_t features = 0;
  bool sync = false;  ///< mode
  std::string software;
  std::uint64_t bulk_data_bytes_max = 0, entry_bytes_max = 0, in_flight_bytes_max = 0;
  /// What only a source says.
  struct Source {
    std::vector<std::string> chain;
    Incarnation origin;
    History history;
    std::optional<PromotedFrom> promoted_from;
    /// With sync: what the source does when the mirror does not confirm. Absent: a source of an older version.
    std::optional<OnSyncLoss> on_sync_loss = std::nullopt;
    std::uint64_t sync_timeout_ms = 0;  ///< with on_sync_loss
    /// What every key of the database begins with. Absent: a source of an older version, or one without data.
    std::optional<std::string> key_prefix = std::nullopt;
    friend bool operator==(const Source&, const Source&) = default;
  };
  std::optional<Source> source;
  MirrorIdentity mirror = {};  ///< what only a mirror says
  friend bool operator==(const SessionBegin&, const SessionBegin&) = default;
};
struct Probe {
  std::uint64_t t0_us = 0;
  friend bool operator==(const Probe&, const Probe&) = default;
};
struct ProbeReply {
  std::uint64_t t0_us = 0;
  Lsn head;
  std::optional<std::uint64_t> upstream_lag_us;
  std::optional<SyncStanding> sync_standing = std::nullopt;  ///< of the mirror that asks, in sync mode
  friend bool operator==(const ProbeReply&, const ProbeReply&) = default;
};
struct Limit {
  std::uint64_t bytes_per_s = 0;
  bool paused = false;
  friend bool operator==(const Limit&, const Limit&) = default;
};
struct Notice {
  std::optional<std::uint64_t> snapshot_queue, window_left_ms, window_left_bytes;
  friend bool operator==(const Notice&, const Notice&) = default;
};
struct SnapshotRequest {
  std::vector<std::string> formats;
  std::optional<SnapshotId> snapshot_id;
  std::uint64_t offset = 0;
  friend bool operator==(const SnapshotRequest&, const SnapshotRequest&) = default;
};
struct SnapshotBegin {
  SnapshotFacts facts;  ///< consistent_lsn comes with the last chunk; here it is snapshot_lsn
  std::uint64_t offset = 0;
  friend bool operator==(const SnapshotBegin&, const SnapshotBegin&) = default;
};
/// Header map of a chunk; the data follows in the frame.
struct SnapshotChunk {
  std::uint64_t offset = 0;
  std::uint32_t crc32c = 0;
  bool done = false;
  std::uint32_t total_crc32c = 0;  ///< with done
  Lsn consistent_lsn;              ///< with done
  friend bool operator==(const SnapshotChunk&, const SnapshotChunk&) = default;
};
struct SnapshotAck {
  std::uint64_t offset = 0;
  friend bool operator==(const SnapshotAck&, const SnapshotAck&) = default;
};
struct LogRequest {
  Position position;
  std::vector<std::string> codecs;
  friend bool operator==(const LogRequest&, const LogRequest&) = default;
};
struct LogBegin {
  Lsn head, oldest, from;
  bool unverified = false;  ///< the source could not tell whether the last entry is the mirror's
  friend bool operator==(const LogBegin&, const LogBegin&) = default;
};
struct LogBatch {
  Lsn prev_lsn, last_lsn;
  std::uint64_t count = 0, raw_bytes = 0;
  std::string codec = std::string(codec_none);
  std::uint32_t crc32c = 0;
  std::optional<Lsn> origin_lsn;
  friend bool operator==(const LogBatch&, const LogBatch&) = default;
};
struct EntryFragment {
  Lsn prev_lsn, lsn;
  std::uint64_t offset = 0, total_bytes = 0;
  std::uint32_t crc32c = 0;
  bool last = false;
  std::optional<Lsn> origin_lsn;
  friend bool operator==(const EntryFragment&, const EntryFragment&) = default;
};
struct LogAck {
  Lsn applied, durable;
  std::uint64_t released_bytes = 0;
  friend bool operator==(const LogAck&, const LogAck&) = default;
};
struct LeaseInfo {
  std::uint64_t lease = 0, ttl_s = 0;
  friend bool operator==(const LeaseInfo&, const LeaseInfo&) = default;
};
struct VerifyBegin {
  Lsn applied_lsn;
  friend bool operator==(const VerifyBegin&, const VerifyBegin&) = default;
};
struct VerifyAt {
  Lsn lsn;
  friend bool operator==(const VerifyAt&, const VerifyAt&) = default;
};
struct KeyRange {
  std::optional<std::string> begin, end;
  friend bool operator==(const KeyRange&, const KeyRange&) = default;
};
struct RangeDigest {
  KeyRange range;
  /// What only the source says.
  struct Answer {
    std::uint64_t keys = 0;
    EntryHash digest;
    std::vector<std::string> splits;
    friend bool operator==(const Answer&, const Answer&) = default;
  };
  std::optional<Answer> answer;
  friend bool operator==(const RangeDigest&, const RangeDigest&) = default;
};
struct Keys {
  KeyRange range;
  struct Answer {
    std::vector<std::string> keys;
    std::vector<EntryHash> hashes;  ///< as many as keys
    friend bool operator==(const Answer&, const Answer&) = default;
  };
  std::optional<Answer> answer;
  friend bool operator==(const Keys&, const Keys&) = default;
};
enum class VerifyOutcome : std::uint8_t { equal, different, unknown };
struct VerifyEnd {
  VerifyOutcome outcome = VerifyOutcome::unknown;
  std::string detail;
  friend bool operator==(const VerifyEnd&, const VerifyEnd&) = default;
};
/// Failure with the data of its kind. Extends crosslink::Failure of frame.hpp, which it reads and writes as well.
struct SessionFailure {
  std::string kind, detail;
  std::optional<std::uint64_t> lsn, oldest, head, expected, actual, in_flight_bytes, cap_bytes;
  friend bool operator==(const SessionFailure&, const SessionFailure&) = default;
};
SessionFailure to_failure(const MirrorError& error);
/// An unknown kind becomes ProtocolViolation. The detail is escaped.
MirrorError to_error(const SessionFailure& failure);

using SessionMessage = std::variant<SessionBegin, Probe, ProbeReply, Limit, Notice, SnapshotRequest, SnapshotBegin,
                                    SnapshotChunk, SnapshotAck, LogRequest, LogBegin, LogBatch, EntryFragment, LogAck,
                                    LeaseInfo, VerifyBegin, VerifyAt, RangeDigest, Keys, VerifyEnd, SessionFailure>;

/// The wire kind of each, e.g. 0x22 of LogBatch.
std::uint8_t kind_of(const SessionMessage& message);
/// A name for people: "LogBatch". For undefined kinds: "0x13"-style text.
std::string kind_name(std::uint8_t kind);
/// True for every kind of SessionMessage.
bool is_session_kind(std::uint8_t kind);
bool is_bulk_kind(std::uint8_t kind);
/// Largest payload of a kind: bulk_payload_bytes_max or control_payload_bytes_max.
std::size_t payload_bytes_max(std::uint8_t kind);

/// The whole frame of a message without data. Preconditions (ours): not a bulk kind, within all limits.
std::vector<std::byte> encode_message(const SessionMessage& message);
/// Frame header and header map of a bulk frame that `data_bytes` of data will follow.
std::vector<std::byte> encode_bulk_head(const SessionMessage& message, std::size_t data_bytes);

struct Decoded {
  SessionMessage message;
  std::size_t data_at = 0;  ///< bulk: where in the payload the data begins; else the payload's length
};
/// Errors (peer): ProtocolViolation for a kind that is no session kind and for every breach of the document's "Forms".
/// SessionBegin, RangeDigest and Keys are read in both directions: the optional part is there or not as a whole.
Result<Decoded> decode_message(std::uint8_t kind, std::span<const std::byte> payload);

/// The peer sent a frame of this kind where none may come.
MirrorError misplaced_frame(std::uint8_t kind);

}  // namespace crosslink::core
