#include <gtest/gtest.h>

#include <array>

#include "core_memory.hpp"
#include "core_wire.hpp"
#include "crosslink/frame.hpp"

namespace crosslink::test {
namespace {

Bytes payload_of(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

/// Feeds `pieces` one after the other, as a reader does, and gives back every frame.
std::vector<Frame> frames_of(FrameAssembler& assembler, const std::vector<std::span<const std::byte>>& pieces) {
  std::vector<Frame> frames;
  for (auto piece : pieces) {
    do {
      auto progress = assembler.feed(piece);
      if (!progress) {
        ADD_FAILURE() << progress.error().message();
        return frames;
      }
      piece = piece.subspan(progress->consumed_bytes);
      if (progress->frame) frames.push_back(std::move(*progress->frame));
    } while (!piece.empty());
  }
  return frames;
}

TEST(FrameHeader, is_the_kind_and_the_length_in_network_order) {
  EXPECT_EQ(text_of(encode_frame_header({0x7f, 0x01020304})), "\x7f\x01\x02\x03\x04");
  EXPECT_EQ(text_of(encode_frame_header({0xff, UINT32_MAX})), "\xff\xff\xff\xff\xff");
  EXPECT_EQ(text_of(encode_frame_header({0, 0})), std::string(5, '\0'));
}

TEST(FrameHeader, decodes_to_what_was_encoded) {
  for (unsigned kind = 0; kind < 256; ++kind) {
    for (const std::uint32_t size : {0U, 1U, 255U, 256U, 65535U, 65536U, 0x7fffffffU, 0x80000000U, UINT32_MAX}) {
      const auto header = decode_frame_header(encode_frame_header({static_cast<std::uint8_t>(kind), size}));
      EXPECT_EQ(header.kind, kind);
      EXPECT_EQ(header.payload_bytes, size);
    }
  }
}

TEST(Frame, is_its_header_and_then_its_payload) {
  EXPECT_EQ(text_of(encode_frame(0x60, bytes_of("abc"))), std::string("\x60\0\0\0\3abc", 8));
  EXPECT_EQ(text_of(encode_frame(0x09, {})), std::string("\x09\0\0\0\0", 5));
}

TEST(FrameKinds, of_voters_are_0x30_to_0x3f_and_nothing_else) {
  for (unsigned kind = 0; kind < 256; ++kind) {
    EXPECT_EQ(is_voter_class(static_cast<std::uint8_t>(kind)), kind >= 0x30 && kind < 0x40) << kind;
  }
}

TEST(FrameKinds, that_may_be_skipped_are_0x80_to_0xbf_and_nothing_else) {
  for (unsigned kind = 0; kind < 256; ++kind) {
    EXPECT_EQ(is_skippable(static_cast<std::uint8_t>(kind)), kind >= 0x80 && kind < 0xc0) << kind;
  }
}

TEST(FrameAssembler, gives_the_same_frame_from_every_cut_in_three) {
  const auto payload = payload_of(40);
  const auto frame = encode_frame(0x12, payload);
  for (std::size_t first = 0; first <= frame.size(); ++first) {
    for (std::size_t second = first; second <= frame.size(); ++second) {
      FrameAssembler assembler(40);
      const std::span whole(frame);
      const auto frames =
          frames_of(assembler, {whole.first(first), whole.subspan(first, second - first), whole.subspan(second)});
      ASSERT_EQ(frames.size(), 1U) << first << ' ' << second;
      EXPECT_EQ(frames[0].kind, 0x12);
      EXPECT_EQ(frames[0].payload, payload);
      EXPECT_FALSE(assembler.in_the_middle());
    }
  }
}

TEST(FrameAssembler, says_byte_by_byte_where_it_stands) {
  const auto frame = encode_frame(0x12, payload_of(3));
  FrameAssembler assembler(3);
  EXPECT_FALSE(assembler.in_the_middle());
  for (std::size_t i = 0; i < frame.size(); ++i) {
    EXPECT_EQ(assembler.header().has_value(), i >= frame_header_bytes) << i;
    EXPECT_EQ(assembler.in_the_middle(), i > 0) << i;
    const auto progress = assembler.feed(std::span(frame).subspan(i, 1));
    ASSERT_TRUE(progress);
    EXPECT_EQ(progress->consumed_bytes, 1U);
    EXPECT_EQ(progress->frame.has_value(), i + 1 == frame.size()) << i;
  }
  EXPECT_FALSE(assembler.in_the_middle());
  EXPECT_FALSE(assembler.header());
}

TEST(FrameAssembler, shows_the_header_before_the_payload_arrives) {
  FrameAssembler assembler(100);
  const auto header_bytes = encode_frame_header({0x30, 100});
  ASSERT_TRUE(assembler.feed(header_bytes));
  const auto header = assembler.header();
  ASSERT_TRUE(header);
  EXPECT_EQ(header->kind, 0x30);
  EXPECT_EQ(header->payload_bytes, 100U);
}

TEST(FrameAssembler, consumes_nothing_of_the_next_frame) {
  const auto both = encode_frame(1, payload_of(4)) + encode_frame(2, payload_of(5));
  FrameAssembler assembler(5);
  const auto progress = assembler.feed(both);
  ASSERT_TRUE(progress && progress->frame);
  EXPECT_EQ(progress->consumed_bytes, frame_header_bytes + 4);
  EXPECT_EQ(progress->frame->kind, 1);
  EXPECT_FALSE(assembler.in_the_middle());
}

TEST(FrameAssembler, gives_frames_in_a_row_fed_a_byte_at_a_time) {
  Bytes stream;
  for (std::uint8_t kind = 0; kind < 20; ++kind)
    stream = std::move(stream) + encode_frame(kind, payload_of(kind));
  std::vector<std::span<const std::byte>> pieces;
  for (std::size_t i = 0; i < stream.size(); ++i)
    pieces.push_back(std::span(stream).subspan(i, 1));
  FrameAssembler assembler(20);
  const auto frames = frames_of(assembler, pieces);
  ASSERT_EQ(frames.size(), 20U);
  for (std::uint8_t kind = 0; kind < 20; ++kind) {
    EXPECT_EQ(frames[kind].kind, kind);
    EXPECT_EQ(frames[kind].payload, payload_of(kind));
  }
}

TEST(FrameAssembler, gives_a_frame_without_payload_at_its_fifth_byte) {
  FrameAssembler assembler(0);
  const auto progress = assembler.feed(encode_frame(7, {}));
  ASSERT_TRUE(progress && progress->frame);
  EXPECT_EQ(progress->frame->kind, 7);
  EXPECT_TRUE(progress->frame->payload.empty());
}

TEST(FrameAssembler, takes_no_bytes_without_a_change) {
  FrameAssembler assembler(10);
  const auto frame = encode_frame(1, payload_of(10));
  ASSERT_TRUE(assembler.feed(std::span(frame).first(7)));
  const auto progress = assembler.feed({});
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->consumed_bytes, 0U);
  EXPECT_FALSE(progress->frame);
  EXPECT_TRUE(assembler.in_the_middle());
}

TEST(FrameAssembler, allows_the_bound_and_refuses_one_byte_more) {
  for (const std::size_t bound :
       {std::size_t{0}, std::size_t{1}, handshake_payload_bytes_max, control_payload_bytes_max}) {
    FrameAssembler assembler(bound);
    const auto allowed = assembler.feed(encode_frame(1, payload_of(bound)));
    EXPECT_TRUE(allowed && allowed->frame) << bound;
    const auto refused = assembler.feed(encode_frame_header({1, static_cast<std::uint32_t>(bound + 1)}));
    ASSERT_FALSE(refused) << bound;
    EXPECT_EQ(refused.error().kind(), ErrorKind::ProtocolViolation);
    EXPECT_EQ(refused.error().caused_by(), CausedBy::peer);
  }
}

TEST(FrameAssembler, names_kind_length_and_bound_in_its_refusal) {
  FrameAssembler assembler(10);
  const auto refused = assembler.feed(encode_frame_header({0x22, 11}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "a frame of kind 0x22 announces 11 bytes, more than the 10 allowed");
}

TEST(FrameAssembler, refuses_at_the_fifth_byte_and_keeps_nothing) {
  FrameAssembler assembler(10);
  const auto header = encode_frame_header({1, UINT32_MAX});
  ASSERT_TRUE(assembler.feed(std::span(header).first(4)));
  const AllocationWatch watch;
  const bool accepted = assembler.feed(std::span(header).last(1)).ok();
  EXPECT_LE(AllocationWatch::total_bytes(), 4096U);  // the sentence
  EXPECT_FALSE(accepted);
  EXPECT_FALSE(assembler.in_the_middle());
  EXPECT_FALSE(assembler.header());
}

TEST(FrameAssembler, takes_memory_only_as_bytes_arrive) {
  FrameAssembler assembler(bulk_data_bytes_max);
  const auto header = encode_frame_header({1, bulk_data_bytes_max});
  const AllocationWatch watch;
  const bool accepted = assembler.feed(header).ok() && assembler.feed(std::array<std::byte, 10>{}).ok();
  EXPECT_LE(AllocationWatch::total_bytes(), 64U);
  EXPECT_TRUE(accepted);
}

TEST(FrameAssembler, never_takes_more_memory_at_once_than_the_frame_announced) {
  const std::size_t size = control_payload_bytes_max - 1;
  const auto frame = encode_frame(1, payload_of(size));
  FrameAssembler assembler(size);
  const AllocationWatch watch;
  std::size_t frames = 0;
  for (std::size_t i = 0; i < frame.size(); ++i) {
    const auto progress = assembler.feed(std::span(frame).subspan(i, 1));
    if (progress && progress->frame) ++frames;
  }
  EXPECT_LE(AllocationWatch::largest_bytes(), size);
  EXPECT_EQ(frames, 1U);
}

TEST(Failure, comes_back_from_its_frame) {
  const auto bytes = encode_failure({"HistoriesParted", "at 17"});
  FrameAssembler assembler(control_payload_bytes_max);
  const auto progress = assembler.feed(bytes);
  ASSERT_TRUE(progress && progress->frame);
  EXPECT_EQ(progress->frame->kind, frame_kind::failure);
  const auto failure = decode_failure(progress->frame->payload);
  ASSERT_TRUE(failure) << failure.error().message();
  EXPECT_EQ(failure->kind, "HistoriesParted");
  EXPECT_EQ(failure->detail, "at 17");
}

TEST(Failure, has_its_detail_escaped_and_cut_to_512_bytes_on_encoding) {
  const auto decoded = [](std::string detail) {
    const auto frame = encode_failure({"Storage", std::move(detail)});
    return decode_failure(std::span(frame).subspan(frame_header_bytes)).value().detail;
  };
  EXPECT_EQ(decoded("a\nb"), "a\\x0ab");
  EXPECT_EQ(decoded(std::string(600, 'x')), std::string(512, 'x'));
}

TEST(Failure, skips_fields_it_does_not_know_whatever_they_hold) {
  const Bytes deep = fixarray(1) + fixmap(1) + str("kind") + fixarray(2) + nil() + bin8("\xff");
  const auto payload = fixmap(4) + str("data") + deep + str("kind") + str("Storage") + str("lsn") + uint64(1) +
                       str("detail") + str("disk full");
  const auto failure = decode_failure(payload);
  ASSERT_TRUE(failure) << failure.error().message();
  EXPECT_EQ(failure->kind, "Storage");
  EXPECT_EQ(failure->detail, "disk full");
}

TEST(Failure, is_refused_without_its_fields_or_with_wrong_or_doubled_ones) {
  const auto kind = str("kind") + str("Storage");
  const auto detail = str("detail") + str("x");
  for (const auto& payload :
       {Bytes{}, fixmap(0), fixmap(1) + kind, fixmap(1) + detail, fixmap(3) + kind + detail + kind,
        fixmap(2) + kind + str("detail") + fixint(1), fixmap(2) + str("kind") + bin8("x") + detail,
        fixarray(2) + str("Storage") + str("x"), fixmap(2) + kind, fixmap(3) + kind + detail,
        fixmap(2) + kind + str("detail") + fixarray(0)}) {
    const auto failure = decode_failure(payload);
    ASSERT_FALSE(failure) << text_of(payload);
    EXPECT_EQ(failure.error().kind(), ErrorKind::ProtocolViolation);
    EXPECT_EQ(failure.error().caused_by(), CausedBy::peer);
  }
}

TEST(Failure, with_a_field_whose_name_is_a_list_a_map_or_no_text_is_refused) {
  const auto rest = str("kind") + str("Storage") + str("detail") + str("x");
  for (const auto& key : {fixarray(0), fixarray(1) + nil(), fixmap(0), fixint(1), bin8("x"), nil()}) {
    EXPECT_FALSE(decode_failure(fixmap(3) + key + fixint(1) + rest)) << text_of(key);
    EXPECT_FALSE(decode_failure(fixmap(3) + str("x") + fixint(1) + key + fixint(1) + rest)) << text_of(key);
  }
}

TEST(Failure, skips_lists_seven_deep_and_refuses_eight) {
  const auto with_lists = [](std::size_t depth) {
    return fixmap(3) + str("x") + Bytes(depth, std::byte{0x91}) + nil() + str("kind") + str("Storage") + str("detail") +
           str("x");
  };
  EXPECT_TRUE(decode_failure(with_lists(7)));
  EXPECT_FALSE(decode_failure(with_lists(8)));
}

TEST(Failure, with_too_many_or_too_deep_fields_is_refused) {
  Bytes many = map16(1000);
  for (int i = 0; i < 1000; ++i)
    many = std::move(many) + str("x") + nil();
  EXPECT_FALSE(decode_failure(many));
  EXPECT_FALSE(decode_failure(fixmap(1) + str("x") + Bytes(control_payload_bytes_max, std::byte{0x91})));
  EXPECT_FALSE(decode_failure(fixmap(1) + str("x") + Bytes(control_payload_bytes_max, std::byte{0x81})));
}

}  // namespace
}  // namespace crosslink::test
