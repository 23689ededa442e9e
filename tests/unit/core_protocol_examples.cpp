// Every worked example of a session's frame in docs/protocol.md is what the product writes and reads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "wire/session_frames.hpp"

namespace crosslink::test {
namespace {

using namespace core;

template <class Id>
Id id(int byte) {
  Id made;
  made.bytes.fill(static_cast<std::byte>(byte));
  return made;
}

struct Example {
  SessionMessage message;
  std::string data;  ///< of a bulk frame
};

std::string entry_bytes(std::uint64_t lsn) {
  std::vector<std::byte> bytes;
  const std::array operations{Operation::put("a", "1")};
  encode_entry(bytes, Lsn{lsn}, 0, operations);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t crc_of(const std::string& data) { return crc32c(std::as_bytes(std::span(data))); }

SessionBegin begin_of_mirror() {
  SessionBegin begin;
  begin.features = feature_verify | feature_limit;
  begin.software = "crosslink 0.1.0";
  begin.bulk_data_bytes_max = 1024 * 1024;
  begin.entry_bytes_max = 256ull * 1024 * 1024;
  begin.in_flight_bytes_max = 64ull * 1024 * 1024;
  return begin;
}

SessionBegin begin_of_source() {
  auto begin = begin_of_mirror();
  begin.source =
      SessionBegin::Source{{"prod-us/orders"},
                           id<Incarnation>(0xaa),
                           History::from_records({{id<Incarnation>(0xaa), Lsn{1}, HistoryCause::created},
                                                  {id<Incarnation>(0xbb), Lsn{51}, HistoryCause::unclean_stop}})
                               .value(),
                           {}};
  return begin;
}

SnapshotFacts facts() {
  return {id<SnapshotId>(0x05),
          std::string(kv_format),
          Lsn{7},
          {Lsn{7}, id<EntryHash>(0x0e)},
          Lsn{7},
          id<Incarnation>(0xaa),
          id<Incarnation>(0xaa),
          5,
          Lsn{7}};
}

const std::map<std::string, Example>& examples() {
  static const std::string pairs{
      "\x01"
      "a\x01"
      "1\0",
      5};
  static const Position position{
      id<Incarnation>(0xaa), id<Incarnation>(0xaa), {Lsn{7}, id<EntryHash>(0x0e)}, Lsn{9}, Lsn{9}};
  static const auto entry = entry_bytes(10);
  static const std::map<std::string, Example> all{
      {"SessionBegin-of-a-mirror", {begin_of_mirror(), ""}},
      {"SessionBegin-of-a-source", {begin_of_source(), ""}},
      {"Probe", {Probe{1'000'000}, ""}},
      {"ProbeReply", {ProbeReply{1'000'000, Lsn{9}, 0}, ""}},
      {"Limit", {Limit{1'000'000, false}, ""}},
      {"Notice", {Notice{1, {}, {}}, ""}},
      {"SnapshotRequest", {SnapshotRequest{{"kv"}, id<SnapshotId>(0x05), 3}, ""}},
      {"SnapshotBegin", {SnapshotBegin{facts(), 0}, ""}},
      {"SnapshotChunk", {SnapshotChunk{0, crc_of(pairs), true, crc_of(pairs), Lsn{7}}, pairs}},
      {"SnapshotAck", {SnapshotAck{5}, ""}},
      {"LogRequest", {LogRequest{position, {"zstd"}}, ""}},
      {"LogBegin", {LogBegin{Lsn{12}, Lsn{2}, Lsn{9}}, ""}},
      {"LogBatch", {LogBatch{Lsn{9}, Lsn{10}, 1, entry.size(), "none", crc_of(entry), {}}, entry}},
      {"EntryFragment", {EntryFragment{Lsn{10}, Lsn{11}, 0, 2'000'000, crc_of("frag"), false, {}}, "frag"}},
      {"LogAck", {LogAck{Lsn{10}, Lsn{9}, entry.size()}, ""}},
      {"LeaseInfo", {LeaseInfo{77, 60}, ""}},
      {"VerifyBegin", {VerifyBegin{Lsn{10}}, ""}},
      {"VerifyAt", {VerifyAt{Lsn{12}}, ""}},
      {"RangeDigest-question", {RangeDigest{{"b", {}}, {}}, ""}},
      {"RangeDigest-answer", {RangeDigest{{"b", {}}, RangeDigest::Answer{70, id<EntryHash>(0xd1), {"m"}}}, ""}},
      {"Keys-answer", {Keys{{"b", "m"}, Keys::Answer{{"b"}, {id<EntryHash>(0xd2)}}}, ""}},
      {"VerifyEnd", {VerifyEnd{VerifyOutcome::equal, ""}, ""}},
      {"Failure", {SessionFailure{"SourceBehind", "the log ends at LSN 7", 7, {}, {}, {}, {}, {}, {}}, ""}},
  };
  return all;
}

std::vector<std::byte> frame_of(const Example& example) {
  if (!is_bulk_kind(kind_of(example.message))) return encode_message(example.message);
  auto frame = encode_bulk_head(example.message, example.data.size());
  const auto data = std::as_bytes(std::span(example.data));
  frame.insert(frame.end(), data.begin(), data.end());
  return frame;
}

/// The document's ```hex NAME blocks: two hex digits each, up to two spaces, then words.
std::map<std::string, std::vector<std::byte>> blocks_of_the_document() {
  std::ifstream document(CROSSLINK_SOURCE_DIR "/docs/protocol.md");
  EXPECT_TRUE(document.is_open());
  std::map<std::string, std::vector<std::byte>> blocks;
  std::vector<std::byte>* open = nullptr;
  for (std::string line; std::getline(document, line);) {
    if (line.starts_with("```hex ")) {
      open = &blocks[line.substr(7)];
    } else if (line.starts_with("```")) {
      open = nullptr;
    } else if (open != nullptr) {
      line.resize(std::min(line.size(), line.find("  ")));
      std::istringstream words(line);
      for (std::string word; words >> word;)
        open->push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
    }
  }
  blocks.erase("entry");  // no frame: core_entry.cpp
  return blocks;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const auto byte : bytes)
    text += fmt::format("{:02x} ", std::to_integer<unsigned>(byte));
  return text;
}

TEST(ProtocolExamples, are_what_is_written) {
  const auto blocks = blocks_of_the_document();
  for (const auto& [name, example] : examples()) {
    ASSERT_TRUE(blocks.contains(name)) << "no example of " << name << ": " << hex(frame_of(example));
    EXPECT_EQ(hex(blocks.at(name)), hex(frame_of(example))) << name;
  }
  EXPECT_EQ(blocks.size(), examples().size()) << "an example in the document that no test checks";
}

TEST(ProtocolExamples, are_read_as_what_they_say) {
  const auto blocks = blocks_of_the_document();
  for (const auto& [name, example] : examples()) {
    const auto found = blocks.find(name);
    ASSERT_NE(found, blocks.end()) << name;
    const std::span<const std::byte> frame = found->second;
    ASSERT_GE(frame.size(), frame_header_bytes);
    const auto header = decode_frame_header(frame.first<frame_header_bytes>());
    EXPECT_EQ(header.payload_bytes, frame.size() - frame_header_bytes) << name;
    const auto decoded = decode_message(header.kind, frame.subspan(frame_header_bytes));
    ASSERT_TRUE(decoded.ok()) << name << ": " << decoded.error().message();
    EXPECT_EQ(decoded->message, example.message) << name;
  }
}

TEST(ProtocolExamples, cover_every_kind) {
  std::set<std::uint8_t> kinds;
  for (const auto& [name, example] : examples())
    kinds.insert(kind_of(example.message));
  for (int number = 0; number < 256; ++number) {
    const auto kind = static_cast<std::uint8_t>(number);
    EXPECT_EQ(kinds.contains(kind), is_session_kind(kind)) << kind_name(kind);
  }
}

}  // namespace
}  // namespace crosslink::test
