// What the other implementation's decoder refuses, ours refuses: design section 4, handshake bytes.
#include <gtest/gtest.h>

#include "core_memory.hpp"
#include "core_wire.hpp"
#include "crosslink/frame.hpp"

namespace crosslink::test {
namespace {

template <class Message>
class Refusals : public testing::Test {
 protected:
  static void expect_refused(std::span<const std::byte> payload, std::string_view why) {
    const auto decoded = Message::decode(payload);
    ASSERT_FALSE(decoded) << "decoded, though " << why;
    EXPECT_EQ(decoded.error().kind(), ErrorKind::HandshakeCodec);
    EXPECT_EQ(decoded.error().caused_by(), CausedBy::peer);
    EXPECT_NE(decoded.error().message().find(why), std::string::npos) << decoded.error().message();
  }
  static WireFields fields() { return Message::fields(); }
  /// `form` in place of each field in turn.
  static void expect_refused_everywhere(const Bytes& form, std::string_view why) {
    for (const auto& field : fields()) {
      SCOPED_TRACE(field.name);
      expect_refused(map_of(with(fields(), field.name, form)), why);
    }
  }
  static std::vector<std::string> number_names() {
    std::vector<std::string> names;
    for (const auto& number : Message::numbers())
      names.push_back(std::get<0>(number));
    return names;
  }
};
using Messages = testing::Types<HelloMessage, AckMessage>;
TYPED_TEST_SUITE(Refusals, Messages, MessageNames);

TYPED_TEST(Refusals, an_empty_payload) { this->expect_refused({}, "it is empty"); }

TYPED_TEST(Refusals, a_payload_over_4096_bytes_even_if_the_map_is_whole) {
  auto payload = map_of(TypeParam::fields());
  payload.resize(4096);
  EXPECT_TRUE(TypeParam::decode(payload));
  payload.resize(4097);
  this->expect_refused(payload, "4097 bytes, more than the 4096 allowed");
}

TYPED_TEST(Refusals, a_missing_field_each_in_turn) {
  for (std::size_t i = 0; i < this->fields().size(); ++i) {
    auto fields = this->fields();
    const auto name = fields[i].name;
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(i));
    this->expect_refused(map_of(fields), "lacks the field '" + name + "'");
  }
  this->expect_refused(fixmap(0), "lacks the field");
}

TYPED_TEST(Refusals, an_unknown_field_beside_all_others) {
  for (const auto& name : {"", "extra", "source_cluster ", "Accepted"}) {
    auto fields = this->fields();
    fields.push_back({name, fixint(1)});
    this->expect_refused(map_of(fields), "unknown or doubled");
  }
}

TYPED_TEST(Refusals, an_unknown_field_in_place_of_each) {
  for (std::size_t i = 0; i < this->fields().size(); ++i) {
    auto fields = this->fields();
    fields[i].name += "x";
    this->expect_refused(map_of(fields), "lacks the field");
  }
}

TYPED_TEST(Refusals, a_doubled_field_each_in_turn_with_the_same_or_another_value) {
  for (const auto& field : this->fields()) {
    auto fields = this->fields();
    fields.push_back(field);
    this->expect_refused(map_of(fields), "unknown or doubled");
    fields.back().value = nil();
    this->expect_refused(map_of(fields), "unknown or doubled");
  }
}

TYPED_TEST(Refusals, a_doubled_field_in_place_of_another) {
  auto fields = this->fields();
  fields.back() = fields.front();
  this->expect_refused(map_of(fields), "lacks the field");
}

TYPED_TEST(Refusals, the_array_form) {
  auto payload = fixarray(this->fields().size());
  for (const auto& field : this->fields())
    payload = std::move(payload) + field.value;
  this->expect_refused(payload, "it is no map");
}

TYPED_TEST(Refusals, any_first_object_that_is_no_map) {
  for (const auto& object : {nil(), flag(true), fixint(1), int8(-1), uint64(1), float64_one(), str("x"), bin8("x"),
                             fixext1(), fixarray(0), tagged(0xdc, 4, 2), tagged(0xdd, UINT32_MAX, 4)}) {
    this->expect_refused(object + map_of(this->fields()), "it is no map");
  }
}

TYPED_TEST(Refusals, a_text_or_a_flag_for_a_number) {
  for (const auto& name : this->number_names()) {
    for (const auto& form : {str("5"), flag(true), flag(false)}) {
      this->expect_refused(map_of(with(this->fields(), name, form)), "the field '" + name + "' has the wrong type");
    }
  }
}

TYPED_TEST(Refusals, a_number_or_a_flag_for_a_text) {
  for (const auto& name : TypeParam::texts()) {
    for (const auto& form : {fixint(5), flag(true)}) {
      this->expect_refused(map_of(with(this->fields(), name, form)), "the field '" + name + "' has the wrong type");
    }
  }
}

TEST(AckRefusals, a_number_or_a_text_for_a_flag) {
  for (const auto& form : {fixint(1), fixint(0), str("true")}) {
    EXPECT_FALSE(decode_ack(map_of(with(AckMessage::fields(), "accepted", form))));
  }
}

TYPED_TEST(Refusals, bin_for_a_text) {
  for (const auto& name : TypeParam::texts()) {
    this->expect_refused(map_of(with(this->fields(), name, bin8("prod-us"))),
                         "the field '" + name + "' has the wrong type");
  }
}

TYPED_TEST(Refusals, nil_or_ext_for_any_field) {
  this->expect_refused_everywhere(nil(), "has the wrong type");
  this->expect_refused_everywhere(fixext1(), "has the wrong type");
}

TYPED_TEST(Refusals, a_list_or_a_map_for_any_field) {
  this->expect_refused_everywhere(fixarray(0), "holds a list or a map");
  this->expect_refused_everywhere(fixarray(1) + fixint(1), "holds a list or a map");
  this->expect_refused_everywhere(fixmap(0), "holds a list or a map");
}

TYPED_TEST(Refusals, a_float_for_any_field_even_a_whole_one) {
  this->expect_refused_everywhere(float32_one(), "has the wrong type");
  this->expect_refused_everywhere(float64_one(), "has the wrong type");
}

TYPED_TEST(Refusals, a_negative_number_in_every_form) {
  for (const auto& name : this->number_names()) {
    for (const auto& form : {fixint(0xff), fixint(0xe0), int8(-1), int16(-1), int32(-1), int64(-1), int64(INT64_MIN)}) {
      this->expect_refused(map_of(with(this->fields(), name, form)), "the field '" + name + "' has the wrong type");
    }
  }
}

TYPED_TEST(Refusals, a_number_one_above_the_largest) {
  for (const auto& [name, value, most] : TypeParam::numbers()) {
    if (most == UINT64_MAX) continue;  // there is no such number
    for (const auto over : {most + 1, UINT64_MAX}) {
      this->expect_refused(map_of(with(this->fields(), name, uint64(over))),
                           "the field '" + name + "' is out of range");
    }
  }
}

TYPED_TEST(Refusals, text_that_is_not_utf8) {
  const std::vector<std::string> broken = {"\xff",
                                           "\x80",
                                           "a\xc3",
                                           "\xc0\xaf",
                                           "\xe0\x80\xaf",
                                           "\xed\xa0\x80",
                                           "\xf4\x90\x80\x80",
                                           "\xf8\x88",
                                           "\xf0\x80\x80\x80"};
  for (const auto& name : TypeParam::texts()) {
    for (const auto& text : broken)
      this->expect_refused(map_of(with(this->fields(), name, str(text))), "not UTF-8");
  }
}

TYPED_TEST(Refusals, a_name_that_is_no_text_or_not_utf8) {
  const auto rest = body_of(this->fields());
  const auto count = this->fields().size() + 1;
  for (const auto& key : {fixint(1), nil(), flag(true), bin8("accepted"), float64_one(), fixext1()}) {
    this->expect_refused(fixmap(count) + key + fixint(1) + rest, "a field's name is no text");
  }
  this->expect_refused(fixmap(count) + str("\xff") + fixint(1) + rest, "not UTF-8");
  this->expect_refused(fixmap(count) + fixarray(0) + fixint(1) + rest, "holds a list or a map");
  this->expect_refused(fixmap(count) + fixmap(0) + fixint(1) + rest, "holds a list or a map");
}

TYPED_TEST(Refusals, the_byte_that_messagepack_never_uses) {
  this->expect_refused(tagged(0xc1, 0, 0) + map_of(this->fields()), "it is no MessagePack");
  this->expect_refused_everywhere(tagged(0xc1, 0, 0), "it is no MessagePack");
}

TYPED_TEST(Refusals, bytes_truncated_anywhere_in_every_form_of_the_map) {
  const auto body = body_of(this->fields());
  const auto count = this->fields().size();
  for (const auto& payload : {fixmap(count) + body, map16(count) + body, map32(count) + body}) {
    this->expect_refused(std::span(payload).first(0), "it is empty");
    for (std::size_t size = 1; size < payload.size(); ++size) {
      this->expect_refused(std::span(payload).first(size), "it is cut short");
    }
  }
}

TYPED_TEST(Refusals, hostile_counts_and_lengths_without_taking_memory) {
  const auto body = body_of(this->fields());
  const auto count = this->fields().size();
  const auto first = str(this->fields().front().name);
  const Bytes no_text = tagged(0xdb, UINT32_MAX, 4);
  const std::vector<Bytes> hostile = {
      map32(UINT32_MAX) + body,
      map16(UINT16_MAX) + body,
      map32(UINT32_MAX),
      fixmap(count) + no_text,
      fixmap(count) + first + no_text + body,
      fixmap(count) + first + tagged(0xc6, UINT32_MAX, 4) + body,
      fixmap(count) + first + tagged(0xc9, UINT32_MAX, 4) + body,
      fixmap(count) + first + tagged(0xdd, UINT32_MAX, 4) + body,
      fixmap(count) + first + map32(UINT32_MAX) + body,
      tagged(0xdd, UINT32_MAX, 4) + body,
  };
  for (const auto& payload : hostile) {
    const AllocationWatch watch;
    const bool decoded = TypeParam::decode(payload).ok();
    const auto largest_bytes = AllocationWatch::largest_bytes();
    EXPECT_FALSE(decoded);
    EXPECT_LE(largest_bytes, 2 * handshake_payload_bytes_max);
    EXPECT_LE(AllocationWatch::total_bytes(), 8 * handshake_payload_bytes_max);
  }
}

TYPED_TEST(Refusals, more_fields_than_belong_there_are_not_collected) {
  WireFields fields;
  for (int i = 0; i < 1000; ++i)
    fields.push_back({"x", nil()});
  this->expect_refused(map16(fields.size()) + body_of(fields), "too many fields");
}

TYPED_TEST(Refusals, lists_nested_to_the_bottom_of_the_payload) {
  this->expect_refused(fixmap(1) + str("x") + Bytes(handshake_payload_bytes_max - 3, std::byte{0x91}),
                       "holds a list or a map");
  this->expect_refused(Bytes(handshake_payload_bytes_max, std::byte{0x81}), "holds a list or a map");
}

TYPED_TEST(Refusals, a_payload_of_ours_that_would_be_over_4096_bytes_is_not_sent) {
  auto fits = TypeParam::specimen();
  const std::size_t room = 4096 - encode_payload(fits).size();
  if constexpr (std::is_same_v<TypeParam, HelloMessage>) {
    fits.source_database_id = DatabaseId(std::string(room + 6 - 2, 'd'));  // two bytes more for the longer length
  } else {
    fits.error_detail = std::string(room + 3 - 2, 'd');
  }
  EXPECT_EQ(encode_payload(fits).size(), 4096U);
  ASSERT_TRUE(encode_frame(fits));
  auto over = fits;
  if constexpr (std::is_same_v<TypeParam, HelloMessage>) {
    over.source_database_id = DatabaseId(over.source_database_id.str() + "d");
  } else {
    over.error_detail += "d";
  }
  const auto frame = encode_frame(over);
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().kind(), ErrorKind::HandshakeCodec);
  EXPECT_EQ(frame.error().caused_by(), CausedBy::us);
}

}  // namespace
}  // namespace crosslink::test
