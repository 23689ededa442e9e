#include "wire/session_frames.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "core_wire.hpp"

namespace crosslink::test {
namespace {

using namespace core;

/// One message: as a value and as fields written by hand.
struct Specimen {
  /// A field marked ? may be absent; by one marked * the reader tells a source's message from a mirror's.
  Specimen(SessionMessage value, WireFields marked)
      : message(std::move(value)), kind(kind_of(message)), fields(std::move(marked)) {
    for (auto& [name, bytes] : fields) {
      const char mark = name[0];
      if (mark == '?' || mark == '*') name.erase(0, 1);
      if (mark == '?') optional.insert(name);
      if (mark == '*') told_by.insert(name);
    }
  }
  SessionMessage message;
  std::uint8_t kind;
  WireFields fields;
  std::set<std::string> optional, told_by;
};

template <class Id = EntryHash>
Id id_of(char c) {
  Id id;
  id.bytes.fill(static_cast<std::byte>(c));
  return id;
}
Bytes id(char c) { return bin8(std::string(16, c)); }
Bytes list_of(const std::vector<Bytes>& elements) {
  auto bytes = tagged(0xdc, elements.size(), 2);
  for (const auto& element : elements)
    bytes = std::move(bytes) + element;
  return bytes;
}
Bytes times(std::size_t count, const Bytes& element) { return list_of(std::vector<Bytes>(count, element)); }
Bytes map_bytes(const WireFields& fields) { return map16(fields.size()) + body_of(fields); }
WireFields without_field(WireFields fields, const std::string& name) {
  std::erase_if(fields, [&](const WireField& field) { return field.name == name; });
  return fields;
}
std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);)
    parts.push_back(part);
  return parts;
}
/// 5, max, true, false, 'text, ^key, #c (16 times c), or a list: [#a,#b
Bytes value(const std::string& text) {
  const auto rest = text.substr(1);
  if (text == "true" || text == "false") return flag(text == "true");
  if (text == "max") return uint64(UINT64_MAX);
  if (text[0] == '\'') return str(rest);
  if (text[0] == '^') return bin8(rest);
  if (text[0] == '#') return id(text[1]);
  if (text[0] != '[')
    return text.size() < 3 ? fixint(static_cast<unsigned>(std::stoul(text))) : uint64(std::stoull(text));
  std::vector<Bytes> elements;
  for (const auto& element : split(rest, ','))
    elements.push_back(value(element));
  return list_of(elements);
}
/// Fields from "name=value name=value".
WireFields wire(const std::string& text) {
  WireFields fields;
  for (const auto& field : split(text, ' ')) {
    const auto equals = field.find('=');
    fields.push_back({field.substr(0, equals), value(field.substr(equals + 1))});
  }
  return fields;
}

WireFields record(char incarnation, unsigned first_lsn, std::string_view cause) {
  return {{"incarnation", id(incarnation)}, {"first_lsn", fixint(first_lsn)}, {"cause", str(cause)}};
}
Bytes history_bytes() { return list_of({map_of(record('a', 1, "created")), map_of(record('b', 9, "unclean_stop"))}); }
WireFields promoted_fields() {
  return wire(
      "cluster='c database='d origin=#p incarnation=#q last_entry_lsn=4 last_entry_hash=#h applied_lsn=5 "
      "origin_lsn=6");
}
SessionBegin common_begin() { return {3, true, "crosslink-1", 65536, 1048576, 2097152, {}, {}}; }
WireFields common_begin_fields() {
  return wire(
      "features=3 mode='sync software='crosslink-1 bulk_data_bytes_max=65536 entry_bytes_max=1048576 "
      "in_flight_bytes_max=2097152");
}
SessionBegin mirror_begin() {
  auto begin = common_begin();
  begin.mirror = {"m/d", id_of<MirrorId>('m')};
  return begin;
}
WireFields mirror_begin_fields() {
  auto fields = common_begin_fields();
  std::ranges::move(wire("?mirror='m/d ?mirror_id=#m"), std::back_inserter(fields));
  return fields;
}
SessionBegin source_begin() {
  auto begin = common_begin();
  begin.sync = false;
  auto history = History::from_records({{id_of<Incarnation>('a'), {1}, HistoryCause::created},
                                        {id_of<Incarnation>('b'), {9}, HistoryCause::unclean_stop}},
                                       {id_of<Incarnation>('t')});
  const Position position{id_of<Incarnation>('p'), id_of<Incarnation>('q'), {{4}, id_of('h')}, {5}, {6}};
  begin.source = SessionBegin::Source{{"c/d", "e/f"},
                                      id_of<Incarnation>('o'),
                                      history.value(),
                                      PromotedFrom{"c", "d", position},
                                      OnSyncLoss::async,
                                      250,
                                      "k"};
  return begin;
}
WireFields source_begin_fields() {
  auto fields = with(common_begin_fields(), "mode", str("async"));
  std::ranges::move(wire("?on_sync_loss='async ?sync_timeout_ms=250 ?key_prefix=^k"), std::back_inserter(fields));
  std::ranges::move(wire("chain=['c/d,'e/f origin=#o trimmed=[#t"), std::back_inserter(fields));
  fields.push_back({"history", history_bytes()});
  fields.push_back({"promoted_from", map_of(promoted_fields())});
  return fields;
}
WireFields log_request_fields() {
  return wire(
      "origin=#o incarnation=#i last_entry_lsn=8 last_entry_hash=#h applied_lsn=9 origin_lsn=7 codecs=['zstd,'none");
}

std::vector<Specimen> specimens() {
  const auto origin = id_of<Incarnation>('o');
  const auto incarnation = id_of<Incarnation>('i');
  const EntryId entry{{8}, id_of('h')};
  const SnapshotFacts facts{id_of<SnapshotId>('s'), "kv", {9}, entry, {7}, origin, incarnation, 77, {9}};
  const KeyRange range{"\x80", "\xff"};
  const RangeDigest digest{range, RangeDigest::Answer{300, id_of('h'), {"k", "\xff"}}};
  const Keys keys{range, Keys::Answer{{"k", "\xff"}, {id_of('h'), id_of('i')}}};
  auto marked = without_field(without_field(source_begin_fields(), "history"), "promoted_from");
  marked.push_back({"*history", history_bytes()});
  marked.push_back({"?promoted_from", map_of(promoted_fields())});
  return {
      {mirror_begin(), mirror_begin_fields()},
      {source_begin(), marked},
      {Probe{INT64_MAX}, wire("t0_us=9223372036854775807")},
      {ProbeReply{5, {UINT64_MAX}, 6, SyncStanding::suspended},
       wire("t0_us=5 head=max ?upstream_lag_us=6 ?sync_standing='suspended")},
      {Limit{5, true}, wire("bytes_per_s=5 paused=true")},
      {Notice{1, 2, 3}, wire("?snapshot_queue=1 ?window_left_ms=2 ?window_left_bytes=3")},
      {SnapshotRequest{{"kv", "x"}, facts.id, 0}, wire("formats=['kv,'x ?snapshot_id=#s offset=0")},
      {SnapshotBegin{facts, 5},
       wire("snapshot_id=#s snapshot_lsn=9 last_entry_lsn=8 last_entry_hash=#h origin_lsn=7 incarnation=#i origin=#o "
            "format='kv offset=5 ?total_bytes=77")},
      {SnapshotChunk{5, UINT32_MAX, true, 6, {7}},
       wire("offset=5 crc32c=4294967295 done=true total_crc32c=6 consistent_lsn=7")},
      {SnapshotChunk{5, 6, false, 0, {}}, wire("offset=5 crc32c=6 done=false")},
      {SnapshotAck{UINT64_MAX}, wire("offset=max")},
      {LogRequest{{origin, incarnation, entry, {9}, {7}}, {"zstd", "none"}}, log_request_fields()},
      {LogBegin{{3}, {1}, {2}}, wire("head=3 oldest=1 from=2")},
      {LogBegin{{3}, {1}, {2}, true}, wire("head=3 oldest=1 from=2 ?unverified=true")},
      {LogBatch{{1}, {2}, 3, 1048576, "zstd", 5, Lsn{6}},
       wire("prev_lsn=1 last_lsn=2 count=3 raw_bytes=1048576 codec='zstd crc32c=5 ?origin_lsn=6")},
      {EntryFragment{{1}, {2}, 3, 4, 5, true, Lsn{6}},
       wire("prev_lsn=1 lsn=2 offset=3 total_bytes=4 crc32c=5 last=true ?origin_lsn=6")},
      {LogAck{{3}, {2}, 1}, wire("applied=3 durable=2 released_bytes=1")},
      {LeaseInfo{1, 2}, wire("lease=1 ttl_s=2")},
      {VerifyBegin{{5}}, wire("applied_lsn=5")},
      {VerifyAt{{6}}, wire("lsn=6")},
      {RangeDigest{range, {}}, wire("?begin=^\x80 ?end=^\xff")},
      {digest, wire("?begin=^\x80 ?end=^\xff keys=300 *digest=#h ?splits=[^k,^\xff")},
      {Keys{range, {}}, wire("?begin=^\x80 ?end=^\xff")},
      {keys, wire("?begin=^\x80 ?end=^\xff *keys=[^k,^\xff hashes=[#h,#i")},
      {VerifyEnd{VerifyOutcome::different, "why"}, wire("outcome='different detail='why")},
      {SessionFailure{"SourceBehind", "why", 1, 2, 3, 4, 5, 6, 7},
       wire("kind='SourceBehind detail='why ?lsn=1 ?oldest=2 ?head=3 ?expected=4 ?actual=5 ?in_flight_bytes=6 "
            "?cap_bytes=7")},
  };
}
/// Calls `visit` with every field of every specimen.
template <class Visit>
void for_each_field(Visit visit) {
  for (const auto& specimen : specimens()) {
    for (const auto& field : specimen.fields)
      visit(specimen, field.name, field.value);
  }
}

Bytes payload_of(const SessionMessage& message) {
  const bool bulk = is_bulk_kind(kind_of(message));
  const auto frame = bulk ? encode_bulk_head(message, 0) : encode_message(message);
  const auto header = decode_frame_header(std::span(frame).first<frame_header_bytes>());
  EXPECT_EQ(header.kind, kind_of(message));
  EXPECT_EQ(header.payload_bytes, frame.size() - frame_header_bytes);
  return {frame.begin() + frame_header_bytes, frame.end()};
}
void expect_message(const SessionMessage& expected, const Bytes& payload) {
  const auto decoded = decode_message(kind_of(expected), payload);
  ASSERT_TRUE(decoded) << kind_name(kind_of(expected)) << ": " << decoded.error().message();
  EXPECT_TRUE(decoded->message == expected) << kind_name(kind_of(expected)) << testing::PrintToString(payload);
  EXPECT_EQ(decoded->data_at, payload.size());
}
void expect_refused(std::uint8_t kind, std::span<const std::byte> payload, const std::string& what) {
  const auto decoded = decode_message(kind, payload);
  ASSERT_FALSE(decoded) << kind_name(kind) << " was read with " << what;
  EXPECT_EQ(decoded.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(decoded.error().caused_by(), CausedBy::peer);
}
template <class T>
void expect_refused(const WireFields& fields, const std::string& what) {
  expect_refused(kind_of(T{}), map_bytes(fields), what);
}

TEST(SessionFrames, every_kind_has_a_specimen_and_every_specimen_its_bytes) {
  std::set<std::uint8_t> seen;
  for (const auto& specimen : specimens()) {
    seen.insert(specimen.kind);
    expect_message(specimen.message, map_bytes(specimen.fields));
    expect_message(specimen.message, payload_of(specimen.message));
  }
  EXPECT_EQ(seen.size(), std::variant_size_v<SessionMessage>);
}

TEST(SessionFrames, do_without_each_field_that_may_be_absent_in_both_directions) {
  for (const auto& specimen : specimens()) {
    for (const auto& name : specimen.optional) {
      const auto less = decode_message(specimen.kind, map_bytes(without_field(specimen.fields, name)));
      ASSERT_TRUE(less) << name << ": " << less.error().message();
      EXPECT_FALSE(less->message == specimen.message) << name;
      auto payload = payload_of(less->message);
      expect_message(less->message, payload);
      EXPECT_EQ(text_of(payload).find(text_of(str(name))), std::string::npos) << name;  // never written as nil
      payload[0] = static_cast<std::byte>(std::to_integer<unsigned>(payload[0]) + 1);   // a map of one field more
      const auto* field = &*std::ranges::find(specimen.fields, name, &WireField::name);
      expect_message(specimen.message, payload + str(name) + field->value);
    }
  }
}

TEST(SessionFrames, without_a_field_that_must_be_there_are_refused) {
  for_each_field([](const Specimen& specimen, const std::string& name, const Bytes&) {
    if (specimen.optional.contains(name) || specimen.told_by.contains(name)) return;
    if (name == "trimmed") return;  // below
    expect_refused(specimen.kind, map_bytes(without_field(specimen.fields, name)), "no " + name);
  });
}

TEST(SessionFrames, without_a_list_that_would_be_empty_are_refused) {
  expect_refused<SessionBegin>(without_field(source_begin_fields(), "trimmed"), "no trimmed");
  expect_refused<Keys>({{"keys", list_of({})}}, "no hashes");
}

TEST(SessionFrames, with_only_a_part_of_what_a_source_says_are_refused) {
  for (const auto& specimen : specimens()) {
    for (const auto& name : specimen.told_by)
      expect_refused(specimen.kind, map_bytes(without_field(specimen.fields, name)), "no " + name);
  }
}

TEST(SessionFrames, with_a_field_twice_are_refused) {
  for_each_field([](const Specimen& specimen, const std::string& name, const Bytes& good) {
    auto fields = specimen.fields;
    fields.push_back({name, good});
    expect_refused(specimen.kind, map_bytes(fields), "twice " + name);
  });
}

/// What a MessagePack value is: unsigned, bool, text, bin, list, map.
char type_of(const Bytes& value) {
  const auto first = std::to_integer<unsigned>(value.at(0));
  if (first < 0x80 || (first >= 0xcc && first <= 0xcf)) return 'u';
  if (first < 0x90) return 'm';
  if (first < 0xa0 || first == 0xdc) return 'l';
  if (first < 0xc0) return 't';
  return first == 0xc4 ? 'x' : first == 0xc2 || first == 0xc3 ? 'b' : '?';
}

TEST(SessionFrames, with_a_value_of_another_type_or_nil_are_refused) {
  const std::vector<Bytes> values{fixint(1),     flag(true), str("none"),     id('x'),   list_of({}),
                                  fixmap(0),     nil(),      fixint(0xff),    int64(-1), float32_one(),
                                  float64_one(), fixext1(),  list_of({nil()})};
  for_each_field([&](const Specimen& specimen, const std::string& name, const Bytes& good) {
    for (const auto& other : values) {
      if (type_of(other) == type_of(good) && other != values.back()) continue;
      const auto payload = map_bytes(with(specimen.fields, name, other));
      expect_refused(specimen.kind, payload, name + testing::PrintToString(other));
    }
  });
}

TEST(SessionFrames, read_a_number_in_every_unsigned_form_and_in_signed_ones) {
  for (const auto& five : {fixint(5), uint8(5), uint16(5), uint32(5), uint64(5), int8(5), int64(5)})
    expect_message(VerifyAt{{5}}, fixmap(1) + str("lsn") + five);
}

TEST(SessionFrames, skip_fields_they_do_not_know_whatever_they_hold) {
  const Bytes deep = fixarray(2) + fixmap(1) + str("offset") + fixarray(0) + nil();
  const WireFields extra{{"x", deep}, {"y", nil()}, {"z", int8(-5)}, {"v", float64_one()}, {"w", fixext1()}};
  for (const auto& specimen : specimens()) {
    auto fields = specimen.fields;
    fields.insert(fields.begin(), extra.begin(), extra.begin() + 2);
    fields.insert(fields.end(), extra.begin() + 2, extra.end());
    expect_message(specimen.message, map_bytes(fields));
  }
}

TEST(SessionFrames, that_are_cut_anywhere_are_refused) {
  for (const auto& specimen : specimens()) {
    for (const auto& whole : {map_bytes(specimen.fields), payload_of(specimen.message)}) {
      for (Bytes payload = whole; !payload.empty();) {
        payload.pop_back();
        payload.shrink_to_fit();  // so that a sanitizer sees a read past the end
        expect_refused(specimen.kind, payload, "a cut");
      }
    }
  }
}

TEST(SessionFrames, with_any_byte_changed_are_read_or_refused_as_a_violation) {
  std::size_t refused = 0;
  for (const auto& specimen : specimens()) {
    auto payload = map_bytes(specimen.fields);
    for (auto& byte : payload) {
      for (const unsigned mask : {0x01U, 0x10U, 0x40U, 0x80U, 0xffU}) {
        byte ^= static_cast<std::byte>(mask);
        const auto decoded = decode_message(specimen.kind, payload);
        byte ^= static_cast<std::byte>(mask);
        if (!decoded) ++refused;
        EXPECT_TRUE(decoded || decoded.error().kind() == ErrorKind::ProtocolViolation);
      }
    }
  }
  EXPECT_GT(refused, 1000U);
}

Bytes bin_of(std::size_t size) { return tagged(0xc5, size, 2) + Bytes(size, std::byte{'x'}); }
Bytes probe_with(const Bytes& unknown) { return fixmap(2) + str("t0_us") + fixint(1) + str("x") + unknown; }

TEST(SessionFrames, with_numbers_out_of_range_are_refused) {
  const std::map<std::string, std::uint64_t> largest{
      {"crc32c", UINT32_MAX}, {"total_crc32c", UINT32_MAX}, {"raw_bytes", 1U << 20U}};
  for_each_field([&](const Specimen& specimen, const std::string& name, const Bytes&) {
    if (!largest.contains(name)) return;
    const auto& fields = specimen.fields;
    EXPECT_TRUE(decode_message(specimen.kind, map_bytes(with(fields, name, uint64(largest.at(name))))));
    expect_refused(specimen.kind, map_bytes(with(fields, name, uint64(largest.at(name) + 1))), name);
  });
}

TEST(SessionFrames, with_words_nobody_defined_or_that_are_not_utf8_are_refused) {
  for (const auto& word : {"", "Sync", "async ", "none"})
    expect_refused<SessionBegin>(with(mirror_begin_fields(), "mode", str(word)), word);
  for (const auto& word : {"", "Equal", "same"})
    expect_refused<VerifyEnd>({{"outcome", str(word)}, {"detail", str("")}}, word);
  for (const auto& text : {"\xff", "\xc0\x80", "\xed\xa0\x80", "a\xe2\x82"})
    expect_refused<SessionBegin>(with(mirror_begin_fields(), "software", str(text)), text);
}

TEST(SessionFrames, with_ids_and_hashes_not_of_16_bytes_are_refused) {
  for (const auto& wrong : {bin8(""), bin8(std::string(15, 'x')), bin8(std::string(17, 'x'))}) {
    for (const auto& name : {"origin", "incarnation", "last_entry_hash"})
      expect_refused<LogRequest>(with(log_request_fields(), name, wrong), name);
    expect_refused<SessionBegin>(with(source_begin_fields(), "trimmed", list_of({wrong})), "trimmed");
    expect_refused<SnapshotRequest>({{"formats", list_of({})}, {"snapshot_id", wrong}, {"offset", fixint(0)}}, "id");
    expect_refused<Keys>({{"keys", list_of({bin8("k")})}, {"hashes", list_of({wrong})}}, "hash");
  }
}

TEST(SessionFrames, that_contradict_themselves_are_refused) {
  expect_refused<LogRequest>(with(log_request_fields(), "applied_lsn", fixint(7)), "an entry after what is applied");
  expect_refused<SnapshotRequest>({{"formats", list_of({})}, {"offset", fixint(1)}}, "an offset of nothing");
  expect_refused<Keys>(wire("keys=[^k hashes=[#h,#i"), "more hashes than keys");
  expect_refused<Keys>(wire("keys=[^b,^a hashes=[#h,#i"), "keys in no order");
  expect_refused<Keys>(wire("keys=[^\xff,^a hashes=[#h,#i"), "keys in signed order");
}

TEST(SessionFrames, with_texts_of_512_bytes_are_read_and_of_513_refused) {
  const auto with_text = [](std::size_t size) { return str(std::string(size, 'x')); };
  EXPECT_TRUE(decode_message(0x08, map_bytes(with(mirror_begin_fields(), "software", with_text(512)))));
  expect_refused<SessionBegin>(with(mirror_begin_fields(), "software", with_text(513)), "513 bytes");
  EXPECT_TRUE(decode_message(0x20, map_bytes(with(log_request_fields(), "codecs", list_of({with_text(512)})))));
  expect_refused<LogRequest>(with(log_request_fields(), "codecs", list_of({with_text(513)})), "513 bytes in a list");
  expect_refused<SessionFailure>({{"kind", str("Busy")}, {"detail", with_text(513)}}, "513 bytes");
  const auto promoted = map_of(with(promoted_fields(), "cluster", with_text(513)));
  expect_refused<SessionBegin>(with(source_begin_fields(), "promoted_from", promoted), "513 bytes in a map");
}

TEST(SessionFrames, hold_lists_up_to_their_bound_and_not_one_more) {
  const auto bounded = [&](std::uint8_t kind, const WireFields& fields, const std::string& name, std::size_t most,
                           const Bytes& element) {
    EXPECT_TRUE(decode_message(kind, map_bytes(with(fields, name, times(most, element))))) << name;
    expect_refused(kind, map_bytes(with(fields, name, times(most + 1, element))), "too many " + name);
  };
  bounded(0x08, source_begin_fields(), "chain", 16, str("c/d"));
  bounded(0x08, source_begin_fields(), "trimmed", 64, id('t'));
  bounded(0x10, {{"formats", {}}, {"offset", fixint(0)}}, "formats", 8, str("kv"));
  bounded(0x20, log_request_fields(), "codecs", 8, str("zstd"));
  bounded(0x42, {{"keys", fixint(1)}, {"digest", id('h')}, {"splits", {}}}, "splits", 15, bin8("k"));
  const auto keys = [&](std::size_t count) {
    return map_bytes({{"keys", times(count, bin8("k"))}, {"hashes", times(count, id('h'))}});
  };
  EXPECT_TRUE(decode_message(0x43, keys(64)));
  expect_refused(0x43, keys(65), "65 keys");
}

TEST(SessionBegins, of_a_promoted_source_are_refused_without_a_field_of_promoted_from) {
  for (const auto& [name, good] : promoted_fields()) {
    const auto less = map_of(without_field(promoted_fields(), name));
    expect_refused<SessionBegin>(with(source_begin_fields(), "promoted_from", less), "promoted_from without " + name);
  }
}

TEST(SessionLimits, are_64_fields_and_1024_values_and_four_deep) {
  const auto fields = [](std::size_t count) {
    WireFields all{{"lsn", fixint(5)}};
    while (all.size() < count)
      all.push_back({"x" + std::to_string(all.size()), nil()});
    return map_bytes(all);
  };
  expect_message(VerifyAt{{5}}, fields(64));
  expect_refused(0x41, fields(65), "65 fields");
  expect_message(Probe{1}, probe_with(times(1000, nil())));
  expect_refused(0x09, probe_with(times(1024, nil())), "too many values");
  expect_refused(0x09, probe_with(fixarray(2) + times(600, nil()) + times(600, nil())), "too many values in two lists");
  expect_message(Probe{1}, probe_with(Bytes(3, std::byte{0x91}) + nil()));
  expect_refused(0x09, probe_with(Bytes(4, std::byte{0x91}) + nil()), "five deep");
  expect_refused(0x09, probe_with(Bytes(60000, std::byte{0x91})), "60000 deep");
  expect_refused(0x09, probe_with(tagged(0xdd, UINT32_MAX, 4)), "a list of 2^32");
  expect_refused(0x09, tagged(0xdf, UINT32_MAX, 4), "2^32 fields");
}

TEST(SessionLimits, of_a_control_payload_are_65536_bytes) {
  const auto base = probe_with(bin_of(0)).size();
  expect_message(Probe{1}, probe_with(bin_of(65536 - base)));
  expect_refused(0x09, probe_with(bin_of(65537 - base)), "65537 bytes");
}

TEST(SessionFrames, that_are_no_map_or_have_a_name_that_is_no_text_are_refused) {
  for (const auto& payload : {Bytes{}, fixint(1), nil(), str("t0_us"), fixarray(0), fixmap(1) + fixint(1) + fixint(1),
                              fixmap(1) + bin8("t0_us") + fixint(1), Bytes{std::byte{0xc1}}})
    expect_refused(0x09, payload, testing::PrintToString(payload));
}

TEST(SessionFrames, with_bytes_after_the_map_are_refused) {
  for (const auto& specimen : specimens()) {
    if (!is_bulk_kind(specimen.kind))
      expect_refused(specimen.kind, map_bytes(specimen.fields) + nil(), "bytes after its map");
  }
}

// 0ae46f2 says `unproven`, and reads nothing else.
TEST(LogBegin, that_is_unverified_says_so_by_the_older_name_too_and_is_understood_by_either) {
  const LogBegin verified{{3}, {1}, {2}}, unverified{{3}, {1}, {2}, true};
  for (const auto* name : {"unverified", "unproven"}) {
    auto fields = wire("head=3 oldest=1 from=2");
    fields.push_back({name, flag(true)});
    expect_message(unverified, map_bytes(fields));
    expect_message(verified, map_bytes(with(fields, name, flag(false))));
    expect_refused<LogBegin>(with(fields, name, fixint(1)), name);
    EXPECT_NE(text_of(payload_of(unverified)).find(text_of(str(name) + flag(true))), std::string::npos) << name;
  }
}

TEST(BulkFrames, are_a_map_and_then_the_data) {
  const SessionMessage batch = LogBatch{{1}, {2}, 3, 4, "none", 5, {}};
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{5000}, bulk_data_bytes_max}) {
    auto frame = encode_bulk_head(batch, size);
    const auto header = decode_frame_header(std::span(frame).first<frame_header_bytes>());
    const auto map_size = frame.size() - frame_header_bytes;
    EXPECT_EQ(header.payload_bytes, map_size + size);
    frame.resize(frame.size() + size, std::byte{0xc1});  // no MessagePack: it is not looked into
    const auto decoded = decode_message(header.kind, std::span(frame).subspan(frame_header_bytes));
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_TRUE(decoded->message == batch);
    EXPECT_EQ(decoded->data_at, map_size);
  }
}

TEST(BulkFrames, hold_a_map_of_1024_bytes_and_data_of_1_mib_and_not_one_byte_more) {
  const auto map_of_size = [](std::size_t size) {
    WireFields fields{{"offset", fixint(5)}, {"crc32c", fixint(6)}, {"done", flag(false)}, {"x", bin_of(0)}};
    fields.back().value = bin_of(size - map_bytes(fields).size());
    return map_bytes(fields);
  };
  expect_refused(0x12, map_of_size(1024) + Bytes(bulk_data_bytes_max + 1), "a payload too long");
  const auto decoded = decode_message(0x12, map_of_size(1024) + Bytes(bulk_data_bytes_max));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->data_at, 1024U);
  expect_refused(0x12, map_of_size(1025), "a map of 1025 bytes");
  expect_refused(0x12, map_of_size(1025) + Bytes(10), "a map of 1025 bytes");
  expect_refused(0x12, map_of_size(100) + Bytes(bulk_data_bytes_max + 1), "data of 1 MiB and 1");
}

TEST(SessionKinds, have_names_bounds_and_are_bulk_as_in_the_document) {
  std::map<unsigned, std::string> named;
  for (const auto& row : split("08 SessionBegin,09 Probe,0a ProbeReply,0b Limit,0c Notice,10 SnapshotRequest,"
                               "11 SnapshotBegin,12 SnapshotChunk,13 SnapshotAck,20 LogRequest,21 LogBegin,"
                               "22 LogBatch,23 EntryFragment,24 LogAck,25 LeaseInfo,40 VerifyBegin,41 VerifyAt,"
                               "42 RangeDigest,43 Keys,44 VerifyEnd,7f Failure",
                               ','))
    named.emplace(static_cast<unsigned>(std::stoul(row.substr(0, 2), nullptr, 16)), row.substr(3));
  for (unsigned number = 0; number < 256; ++number) {
    const auto kind = static_cast<std::uint8_t>(number);
    const bool bulk = kind == 0x12 || kind == 0x22 || kind == 0x23;
    EXPECT_EQ(is_session_kind(kind), named.contains(number)) << number;
    EXPECT_EQ(is_bulk_kind(kind), bulk) << number;
    EXPECT_EQ(payload_bytes_max(kind), bulk ? 1049600U : 65536U) << number;
    if (named.contains(number)) {
      EXPECT_EQ(kind_name(kind), named[number]);
    } else {
      expect_refused(kind, fixmap(0), "no meaning");
    }
  }
  EXPECT_EQ(kind_name(0x00), "0x00");
  EXPECT_EQ(kind_name(0x14), "0x14");
  EXPECT_EQ(kind_name(0xff), "0xff");
}

}  // namespace
}  // namespace crosslink::test
