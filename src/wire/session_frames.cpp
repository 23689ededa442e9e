#include "wire/session_frames.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "wire/message_tree.hpp"

namespace crosslink::core {
namespace {

struct KindRow {
  std::uint8_t kind;
  std::string_view name;
  bool bulk;
};
/// In the order of SessionMessage's alternatives.
constexpr std::array<KindRow, std::variant_size_v<SessionMessage>> kinds{{
    {0x08, "SessionBegin", false},  {0x09, "Probe", false},        {0x0a, "ProbeReply", false},
    {0x0b, "Limit", false},         {0x0c, "Notice", false},       {0x10, "SnapshotRequest", false},
    {0x11, "SnapshotBegin", false}, {0x12, "SnapshotChunk", true}, {0x13, "SnapshotAck", false},
    {0x20, "LogRequest", false},    {0x21, "LogBegin", false},     {0x22, "LogBatch", true},
    {0x23, "EntryFragment", true},  {0x24, "LogAck", false},       {0x25, "LeaseInfo", false},
    {0x40, "VerifyBegin", false},   {0x41, "VerifyAt", false},     {0x42, "RangeDigest", false},
    {0x43, "Keys", false},          {0x44, "VerifyEnd", false},    {0x7f, "Failure", false},
}};

/// What `unverified` was called before it got that name: a peer of that time knows no other.
constexpr const char* unverified_before = "unproven";

const KindRow* row_of(std::uint8_t kind) {
  const auto* found = std::ranges::find(kinds, kind, &KindRow::kind);
  return found == kinds.end() ? nullptr : found;
}

// --- writing

Binary binary(std::span<const std::byte> bytes) {
  return {std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
}

class Writer {
 public:
  template <class T>
  Writer& put(std::string name, T value) {
    map_.emplace_back(std::move(name), Tree{std::move(value)});
    return *this;
  }
  Writer& lsn(std::string name, Lsn lsn) { return put(std::move(name), lsn.value); }
  template <class Tag>
  Writer& id(std::string name, const detail::Id128<Tag>& id) {
    return put(std::move(name), binary(id.bytes));
  }
  Writer& optional(std::string name, const std::optional<std::uint64_t>& value) {
    return value ? put(std::move(name), *value) : *this;
  }
  Writer& optional(std::string name, const std::optional<Lsn>& value) {
    return value ? lsn(std::move(name), *value) : *this;
  }
  Writer& texts(std::string name, const std::vector<std::string>& values) {
    TreeList list;
    for (const auto& value : values)
      list.push_back({value});
    return put(std::move(name), std::move(list));
  }
  Writer& keys(std::string name, const std::vector<std::string>& values) {
    TreeList list;
    for (const auto& value : values)
      list.push_back({Binary{value}});
    return put(std::move(name), std::move(list));
  }
  Writer& range(const KeyRange& range) {
    if (range.begin) put("begin", Binary{*range.begin});
    if (range.end) put("end", Binary{*range.end});
    return *this;
  }
  TreeMap take() { return std::move(map_); }

 private:
  TreeMap map_;
};

TreeMap write(const SessionBegin& begin) {
  Writer w;
  w.put("features", begin.features)
      .put("mode", std::string(begin.sync ? "sync" : "async"))
      .put("software", begin.software);
  w.put("bulk_data_bytes_max", begin.bulk_data_bytes_max).put("entry_bytes_max", begin.entry_bytes_max);
  w.put("in_flight_bytes_max", begin.in_flight_bytes_max);
  if (!begin.mirror.database.empty()) w.put("mirror", begin.mirror.database);
  if (begin.mirror.id != MirrorId{}) w.id("mirror_id", begin.mirror.id);
  if (!begin.source) return w.take();
  const auto& source = *begin.source;
  TreeList history;
  TreeList trimmed;
  for (const auto& record : source.history.records()) {
    Writer r;
    r.id("incarnation", record.incarnation).lsn("first_lsn", record.first_lsn);
    r.put("cause", std::string(to_string(record.cause)));
    history.push_back({r.take()});
  }
  for (const auto& incarnation : source.history.trimmed())
    trimmed.push_back({binary(incarnation.bytes)});
  if (source.on_sync_loss) {
    w.put("on_sync_loss", std::string(to_string(*source.on_sync_loss)));
  }
  if (source.sync_timeout_ms > 0) w.put("sync_timeout_ms", source.sync_timeout_ms);
  if (source.key_prefix) w.put("key_prefix", Binary{*source.key_prefix});
  w.texts("chain", source.chain).id("origin", source.origin);
  w.put("history", std::move(history)).put("trimmed", std::move(trimmed));
  if (const auto& from = source.promoted_from) {
    Writer p;
    p.put("cluster", from->cluster).put("database", from->database).id("origin", from->position.origin);
    p.id("incarnation", from->position.incarnation).lsn("last_entry_lsn", from->position.last_entry.lsn);
    p.id("last_entry_hash", from->position.last_entry.hash).lsn("applied_lsn", from->position.applied_lsn);
    p.lsn("origin_lsn", from->position.origin_lsn);
    w.put("promoted_from", p.take());
  }
  return w.take();
}
TreeMap write(const Probe& probe) { return Writer().put("t0_us", probe.t0_us).take(); }
TreeMap write(const ProbeReply& reply) {
  Writer w;
  w.put("t0_us", reply.t0_us).lsn("head", reply.head).optional("upstream_lag_us", reply.upstream_lag_us);
  if (reply.sync_standing) w.put("sync_standing", std::string(to_string(*reply.sync_standing)));
  return w.take();
}
TreeMap write(const Limit& limit) {
  return Writer().put("bytes_per_s", limit.bytes_per_s).put("paused", limit.paused).take();
}
TreeMap write(const Notice& notice) {
  return Writer()
      .optional("snapshot_queue", notice.snapshot_queue)
      .optional("window_left_ms", notice.window_left_ms)
      .optional("window_left_bytes", notice.window_left_bytes)
      .take();
}
TreeMap write(const SnapshotRequest& request) {
  Writer w;
  w.texts("formats", request.formats);
  if (request.snapshot_id) w.id("snapshot_id", *request.snapshot_id);
  return w.put("offset", request.offset).take();
}
TreeMap write(const SnapshotBegin& begin) {
  const auto& facts = begin.facts;
  Writer w;
  w.id("snapshot_id", facts.id).lsn("snapshot_lsn", facts.snapshot_lsn).lsn("last_entry_lsn", facts.last_entry.lsn);
  w.id("last_entry_hash", facts.last_entry.hash)
      .lsn("origin_lsn", facts.origin_lsn)
      .id("incarnation", facts.incarnation);
  w.id("origin", facts.origin).put("format", facts.format).put("offset", begin.offset);
  if (!facts.key_prefix.empty()) w.put("key_prefix", Binary{facts.key_prefix});
  return w.optional("total_bytes", facts.total_bytes).take();
}
TreeMap write(const SnapshotChunk& chunk) {
  Writer w;
  w.put("offset", chunk.offset).put("crc32c", std::uint64_t{chunk.crc32c}).put("done", chunk.done);
  if (chunk.done) w.put("total_crc32c", std::uint64_t{chunk.total_crc32c}).lsn("consistent_lsn", chunk.consistent_lsn);
  return w.take();
}
TreeMap write(const SnapshotAck& ack) { return Writer().put("offset", ack.offset).take(); }
TreeMap write(const LogRequest& request) {
  const auto& position = request.position;
  Writer w;
  w.id("origin", position.origin)
      .id("incarnation", position.incarnation)
      .lsn("last_entry_lsn", position.last_entry.lsn);
  w.id("last_entry_hash", position.last_entry.hash).lsn("applied_lsn", position.applied_lsn);
  return w.lsn("origin_lsn", position.origin_lsn).texts("codecs", request.codecs).take();
}
TreeMap write(const LogBegin& begin) {
  Writer w;
  w.lsn("head", begin.head).lsn("oldest", begin.oldest).lsn("from", begin.from);
  if (begin.unverified) w.put(unverified_before, true).put("unverified", true);
  return w.take();
}
TreeMap write(const LogBatch& batch) {
  Writer w;
  w.lsn("prev_lsn", batch.prev_lsn)
      .lsn("last_lsn", batch.last_lsn)
      .put("count", batch.count)
      .put("raw_bytes", batch.raw_bytes);
  w.put("codec", batch.codec).put("crc32c", std::uint64_t{batch.crc32c});
  return w.optional("origin_lsn", batch.origin_lsn).take();
}
TreeMap write(const EntryFragment& fragment) {
  Writer w;
  w.lsn("prev_lsn", fragment.prev_lsn).lsn("lsn", fragment.lsn).put("offset", fragment.offset);
  w.put("total_bytes", fragment.total_bytes).put("crc32c", std::uint64_t{fragment.crc32c}).put("last", fragment.last);
  return w.optional("origin_lsn", fragment.origin_lsn).take();
}
TreeMap write(const LogAck& ack) {
  return Writer()
      .lsn("applied", ack.applied)
      .lsn("durable", ack.durable)
      .put("released_bytes", ack.released_bytes)
      .take();
}
TreeMap write(const LeaseInfo& info) { return Writer().put("lease", info.lease).put("ttl_s", info.ttl_s).take(); }
TreeMap write(const VerifyBegin& begin) { return Writer().lsn("applied_lsn", begin.applied_lsn).take(); }
TreeMap write(const VerifyAt& at) { return Writer().lsn("lsn", at.lsn).take(); }
TreeMap write(const RangeDigest& digest) {
  Writer w;
  w.range(digest.range);
  if (!digest.answer) return w.take();
  w.put("keys", digest.answer->keys).id("digest", digest.answer->digest);
  if (!digest.answer->splits.empty()) w.keys("splits", digest.answer->splits);
  return w.take();
}
TreeMap write(const Keys& keys) {
  Writer w;
  w.range(keys.range);
  if (!keys.answer) return w.take();
  TreeList hashes;
  for (const auto& hash : keys.answer->hashes)
    hashes.push_back({binary(hash.bytes)});
  return w.keys("keys", keys.answer->keys).put("hashes", std::move(hashes)).take();
}

constexpr std::array<std::string_view, 3> outcomes{"equal", "different", "unknown"};

TreeMap write(const VerifyEnd& end) {
  return Writer()
      .put("outcome", std::string(outcomes[static_cast<std::size_t>(end.outcome)]))
      .put("detail", printable(end.detail))
      .take();
}
TreeMap write(const SessionFailure& failure) {
  Writer w;
  w.put("kind", failure.kind).put("detail", printable(failure.detail));
  w.optional("lsn", failure.lsn).optional("oldest", failure.oldest).optional("head", failure.head);
  w.optional("expected", failure.expected).optional("actual", failure.actual);
  return w.optional("in_flight_bytes", failure.in_flight_bytes).optional("cap_bytes", failure.cap_bytes).take();
}

// --- reading

Lsn lsn(FieldReader& r, std::string_view name) { return {r.u64(name)}; }
std::optional<Lsn> optional_lsn(FieldReader& r, std::string_view name) {
  const auto value = r.optional_u64(name);
  return value ? std::optional(Lsn{*value}) : std::nullopt;
}
EntryId entry_id(FieldReader& r) { return {lsn(r, "last_entry_lsn"), {r.bytes16("last_entry_hash")}}; }

HistoryCause cause_of(std::string_view text) {
  for (const auto cause : {HistoryCause::created, HistoryCause::unclean_stop, HistoryCause::restamp,
                           HistoryCause::bootstrap, HistoryCause::unlogged_change}) {
    if (to_string(cause) == text) return cause;
  }
  return HistoryCause::restamp;
}

History read_history(FieldReader& r) {
  std::vector<HistoryRecord> records;
  if (const auto* list = r.list("history", history_records_max)) {
    for (const auto& element : *list) {
      const auto* map = std::get_if<TreeMap>(&element.value);
      if (map == nullptr) {
        r.wrong("a record of the history is no map");
        return {};
      }
      FieldReader record(*map, "record of a history");
      records.push_back({{record.bytes16("incarnation")}, lsn(record, "first_lsn"), cause_of(record.text("cause"))});
      if (record.error()) r.wrong(record.error()->message());
    }
  }
  std::vector<Incarnation> trimmed;
  for (const auto& bytes : r.list_of_bytes16("trimmed", history_records_max))
    trimmed.push_back({bytes});
  auto history = History::from_records(std::move(records), std::move(trimmed));
  if (!history) {
    r.wrong(history.error().message());
    return {};
  }
  return *std::move(history);
}

SessionMessage read(const SessionBegin*, FieldReader& r) {
  SessionBegin begin;
  begin.features = r.u64("features");
  const auto mode = r.text("mode");
  begin.sync = mode == "sync";
  if (mode != "sync" && mode != "async") r.wrong("the field mode is neither async nor sync");
  begin.software = r.text("software");
  begin.bulk_data_bytes_max = r.u64("bulk_data_bytes_max");
  begin.entry_bytes_max = r.u64("entry_bytes_max");
  begin.in_flight_bytes_max = r.u64("in_flight_bytes_max");
  if (r.has("mirror")) begin.mirror.database = r.text("mirror");
  if (const auto id = r.optional_bytes16("mirror_id")) begin.mirror.id = {*id};
  const auto of_source = {"chain", "origin", "history", "trimmed", "promoted_from"};
  if (std::ranges::none_of(of_source, [&](const char* name) { return r.has(name); })) return begin;
  SessionBegin::Source source;
  source.chain = r.texts("chain", chain_max);
  source.origin = {r.bytes16("origin")};
  source.history = read_history(r);
  if (const auto* map = r.map("promoted_from")) {
    FieldReader p(*map, "promoted_from");
    PromotedFrom from{p.text("cluster"), p.text("database"), {}};
    from.position = {
        {p.bytes16("origin")}, {p.bytes16("incarnation")}, entry_id(p), lsn(p, "applied_lsn"), lsn(p, "origin_lsn")};
    if (p.error()) r.wrong(p.error()->message());
    source.promoted_from = std::move(from);
  }
  // A word of a later version says no more than that it is none of these.
  if (r.has("on_sync_loss")) source.on_sync_loss = on_sync_loss_named(r.text("on_sync_loss"));
  if (r.has("sync_timeout_ms")) source.sync_timeout_ms = r.u64("sync_timeout_ms", sync_timeout_ms_max);
  source.key_prefix = r.optional_key("key_prefix");
  begin.source = std::move(source);
  return begin;
}
SessionMessage read(const Probe*, FieldReader& r) { return Probe{r.u64("t0_us", INT64_MAX)}; }
SessionMessage read(const ProbeReply*, FieldReader& r) {
  ProbeReply reply{r.u64("t0_us", INT64_MAX), lsn(r, "head"), r.optional_u64("upstream_lag_us")};
  if (r.has("sync_standing")) reply.sync_standing = sync_standing_named(r.text("sync_standing"));
  return reply;
}
SessionMessage read(const Limit*, FieldReader& r) { return Limit{r.u64("bytes_per_s"), r.boolean("paused")}; }
SessionMessage read(const Notice*, FieldReader& r) {
  return Notice{r.optional_u64("snapshot_queue"), r.optional_u64("window_left_ms"),
                r.optional_u64("window_left_bytes")};
}
SessionMessage read(const SnapshotRequest*, FieldReader& r) {
  SnapshotRequest request{r.texts("formats", formats_max), {}, 0};
  if (const auto id = r.optional_bytes16("snapshot_id")) request.snapshot_id = SnapshotId{*id};
  request.offset = r.u64("offset");
  if (request.offset > 0 && !request.snapshot_id) r.wrong("an offset without a snapshot");
  return request;
}
SessionMessage read(const SnapshotBegin*, FieldReader& r) {
  SnapshotBegin begin;
  auto& facts = begin.facts;
  facts.id = {r.bytes16("snapshot_id")};
  facts.snapshot_lsn = facts.consistent_lsn = lsn(r, "snapshot_lsn");
  facts.last_entry = entry_id(r);
  facts.origin_lsn = lsn(r, "origin_lsn");
  facts.incarnation = {r.bytes16("incarnation")};
  facts.origin = {r.bytes16("origin")};
  facts.format = r.text("format");
  begin.offset = r.u64("offset");
  facts.total_bytes = r.optional_u64("total_bytes");
  facts.key_prefix = r.optional_key("key_prefix").value_or("");
  if (facts.last_entry.lsn > facts.snapshot_lsn) r.wrong("its last entry comes after it");
  return begin;
}
SessionMessage read(const SnapshotChunk*, FieldReader& r) {
  SnapshotChunk chunk{r.u64("offset", INT64_MAX), r.u32("crc32c"), r.boolean("done"), 0, {}};
  if (!chunk.done) return chunk;
  chunk.total_crc32c = r.u32("total_crc32c");
  chunk.consistent_lsn = lsn(r, "consistent_lsn");
  return chunk;
}
SessionMessage read(const SnapshotAck*, FieldReader& r) { return SnapshotAck{r.u64("offset")}; }
SessionMessage read(const LogRequest*, FieldReader& r) {
  LogRequest request;
  auto& position = request.position;
  position.origin = {r.bytes16("origin")};
  position.incarnation = {r.bytes16("incarnation")};
  position.last_entry = entry_id(r);
  position.applied_lsn = lsn(r, "applied_lsn");
  position.origin_lsn = lsn(r, "origin_lsn");
  request.codecs = r.texts("codecs", codecs_max);
  if (position.last_entry.lsn > position.applied_lsn) r.wrong("its last entry comes after what is applied");
  return request;
}
SessionMessage read(const LogBegin*, FieldReader& r) {
  const auto says = [&r](std::string_view name) { return r.has(name) && r.boolean(name); };
  const bool before = says(unverified_before);
  return LogBegin{lsn(r, "head"), lsn(r, "oldest"), lsn(r, "from"), says("unverified") || before};
}
SessionMessage read(const LogBatch*, FieldReader& r) {
  LogBatch batch;
  batch.prev_lsn = lsn(r, "prev_lsn");
  batch.last_lsn = lsn(r, "last_lsn");
  batch.count = r.u64("count");
  batch.raw_bytes = r.u64("raw_bytes", bulk_data_bytes_max);
  batch.codec = r.text("codec");
  batch.crc32c = r.u32("crc32c");
  batch.origin_lsn = optional_lsn(r, "origin_lsn");
  return batch;
}
SessionMessage read(const EntryFragment*, FieldReader& r) {
  EntryFragment fragment{
      lsn(r, "prev_lsn"), lsn(r, "lsn"), r.u64("offset"), r.u64("total_bytes"), r.u32("crc32c"), r.boolean("last"), {}};
  fragment.origin_lsn = optional_lsn(r, "origin_lsn");
  return fragment;
}
SessionMessage read(const LogAck*, FieldReader& r) {
  return LogAck{lsn(r, "applied"), lsn(r, "durable"), r.u64("released_bytes")};
}
SessionMessage read(const LeaseInfo*, FieldReader& r) { return LeaseInfo{r.u64("lease"), r.u64("ttl_s")}; }
SessionMessage read(const VerifyBegin*, FieldReader& r) { return VerifyBegin{lsn(r, "applied_lsn")}; }
SessionMessage read(const VerifyAt*, FieldReader& r) { return VerifyAt{lsn(r, "lsn")}; }
SessionMessage read(const RangeDigest*, FieldReader& r) {
  RangeDigest digest{{r.optional_key("begin"), r.optional_key("end")}, {}};
  if (!r.has("digest") && !r.has("keys") && !r.has("splits")) return digest;
  digest.answer = RangeDigest::Answer{r.u64("keys"), {r.bytes16("digest")}, r.optional_keys("splits", splits_max)};
  return digest;
}
SessionMessage read(const Keys*, FieldReader& r) {
  Keys keys{{r.optional_key("begin"), r.optional_key("end")}, {}};
  if (!r.has("keys") && !r.has("hashes")) return keys;
  Keys::Answer answer{r.keys("keys", listed_keys_max), {}};
  for (const auto& bytes : r.list_of_bytes16("hashes", listed_keys_max))
    answer.hashes.push_back({bytes});
  if (answer.keys.size() != answer.hashes.size()) r.wrong("it has not a hash for each key");
  if (!std::ranges::is_sorted(answer.keys)) r.wrong("its keys are not in order");
  keys.answer = std::move(answer);
  return keys;
}
SessionMessage read(const VerifyEnd*, FieldReader& r) {
  const auto text = r.text("outcome");
  const auto* found = std::ranges::find(outcomes, text);
  if (found == outcomes.end()) r.wrong("its outcome is none");
  return VerifyEnd{
      found == outcomes.end() ? VerifyOutcome::unknown : static_cast<VerifyOutcome>(found - outcomes.begin()),
      r.text("detail")};
}
SessionMessage read(const SessionFailure*, FieldReader& r) {
  SessionFailure failure{r.text("kind"), r.text("detail"), {}, {}, {}, {}, {}, {}, {}};
  failure.lsn = r.optional_u64("lsn");
  failure.oldest = r.optional_u64("oldest");
  failure.head = r.optional_u64("head");
  failure.expected = r.optional_u64("expected");
  failure.actual = r.optional_u64("actual");
  failure.in_flight_bytes = r.optional_u64("in_flight_bytes");
  failure.cap_bytes = r.optional_u64("cap_bytes");
  return failure;
}

template <std::size_t index = 0>
SessionMessage read_alternative(std::size_t wanted, FieldReader& r) {
  if constexpr (index < std::variant_size_v<SessionMessage>) {
    if (wanted == index) return read(static_cast<const std::variant_alternative_t<index, SessionMessage>*>(nullptr), r);
    return read_alternative<index + 1>(wanted, r);
  } else {
    return {};
  }
}

std::vector<std::byte> encode(const SessionMessage& message, std::size_t data_bytes) {
  std::vector<std::byte> frame(frame_header_bytes);
  write_tree(frame, std::visit([](const auto& m) { return write(m); }, message));
  const auto payload_bytes = frame.size() - frame_header_bytes + data_bytes;
  std::ranges::copy(encode_frame_header({kind_of(message), static_cast<std::uint32_t>(payload_bytes)}), frame.begin());
  return frame;
}

}  // namespace

std::uint8_t kind_of(const SessionMessage& message) { return kinds[message.index()].kind; }

std::string kind_name(std::uint8_t kind) {
  const auto* row = row_of(kind);
  return row != nullptr ? std::string(row->name) : fmt::format("{:#04x}", kind);
}

bool is_session_kind(std::uint8_t kind) { return row_of(kind) != nullptr; }
bool is_bulk_kind(std::uint8_t kind) {
  const auto* row = row_of(kind);
  return row != nullptr && row->bulk;
}
std::size_t payload_bytes_max(std::uint8_t kind) {
  return is_bulk_kind(kind) ? bulk_payload_bytes_max : control_payload_bytes_max;
}

std::vector<std::byte> encode_message(const SessionMessage& message) { return encode(message, 0); }
std::vector<std::byte> encode_bulk_head(const SessionMessage& message, std::size_t data_bytes) {
  return encode(message, data_bytes);
}

Result<Decoded> decode_message(std::uint8_t kind, std::span<const std::byte> payload) {
  const auto* row = row_of(kind);
  if (row == nullptr)
    return MirrorError::protocol_violation(fmt::format("{} is no frame of a session", kind_name(kind)));
  if (payload.size() > payload_bytes_max(kind)) {
    return MirrorError::protocol_violation(fmt::format("a {} of {} bytes is too long", row->name, payload.size()));
  }
  auto tree = read_tree(row->bulk ? payload.first(std::min(payload.size(), bulk_map_bytes_max)) : payload);
  if (!tree) return tree.error();
  FieldReader reader(tree->map, row->name);
  auto message = read_alternative(static_cast<std::size_t>(row - kinds.begin()), reader);
  if (reader.error()) return *reader.error();
  const auto data_at = tree->bytes;
  if (!row->bulk && data_at < payload.size())
    return MirrorError::protocol_violation(fmt::format("a {} goes on after its map", row->name));
  if (payload.size() - data_at > bulk_data_bytes_max) {
    return MirrorError::protocol_violation(fmt::format("a {} carries too much data", row->name));
  }
  return Decoded{std::move(message), data_at};
}

// --- failures

SessionFailure to_failure(const MirrorError& error) {
  SessionFailure failure{std::string(to_string(error.kind())), printable(error.message()), {}, {}, {}, {}, {}, {}, {}};
  if (const auto* at = std::get_if<AtLsn>(&error.data())) failure.lsn = at->lsn.value;
  if (const auto* window = std::get_if<LogWindow>(&error.data())) {
    failure.oldest = window->oldest.value;
    failure.head = window->head.value;
  }
  if (const auto* offsets = std::get_if<SnapshotOffsets>(&error.data())) {
    failure.expected = offsets->expected;
    failure.actual = offsets->actual;
  }
  if (const auto* crcs = std::get_if<SnapshotCrcs>(&error.data())) {
    failure.expected = crcs->stored;
    failure.actual = crcs->computed;
  }
  if (const auto* cap = std::get_if<CapExceeded>(&error.data())) {
    failure.in_flight_bytes = cap->in_flight_bytes;
    failure.cap_bytes = cap->cap_bytes;
  }
  return failure;
}

namespace {

/// What only this side can know of itself: a peer that says it says nothing.
bool is_local(ErrorKind kind) {
  return kind == ErrorKind::Configuration || kind == ErrorKind::MirrorPromoted || kind == ErrorKind::NotConnected ||
         kind == ErrorKind::AlreadyConnected;
}

}  // namespace

MirrorError to_error(const SessionFailure& failure) {
  auto kind = ErrorKind::ProtocolViolation;
  for (const auto& rule : error_rules()) {
    if (rule.name == failure.kind && !is_local(rule.kind)) kind = rule.kind;
  }
  ErrorData data;
  if (kind == ErrorKind::SnapshotOffsetRegression && failure.expected && failure.actual)
    data = SnapshotOffsets{{}, *failure.expected, *failure.actual};
  if (kind == ErrorKind::SnapshotCrcMismatch && failure.expected && failure.actual) {
    data = SnapshotCrcs{{},
                        static_cast<std::uint32_t>(*failure.expected & UINT32_MAX),
                        static_cast<std::uint32_t>(*failure.actual & UINT32_MAX)};
  }
  if (kind == ErrorKind::BytesInFlightCapExceeded && failure.in_flight_bytes && failure.cap_bytes)
    data = CapExceeded{{}, *failure.in_flight_bytes, *failure.cap_bytes};
  if (kind == ErrorKind::LogWindowExceeded && failure.oldest && failure.head)
    data = LogWindow{{*failure.oldest}, {*failure.head}};
  if ((kind == ErrorKind::SourceBehind || kind == ErrorKind::HistoriesParted) && failure.lsn)
    data = AtLsn{{*failure.lsn}};
  return {kind, CausedBy::peer, printable(failure.detail), data};
}

MirrorError misplaced_frame(std::uint8_t kind) {
  return MirrorError::protocol_violation(fmt::format("a {} frame is not allowed here", kind_name(kind)));
}

}  // namespace crosslink::core
