// What the other implementation's decoder accepts, ours accepts: design section 4, handshake bytes.
#include <gtest/gtest.h>

#include "core_wire.hpp"
#include "crosslink/frame.hpp"

namespace crosslink::test {
namespace {

template <class Message>
class Leniency : public testing::Test {
 protected:
  static void expect_specimen(const Bytes& payload) {
    const auto decoded = Message::decode(payload);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(*decoded, Message::specimen());
  }
};
using Messages = testing::Types<HelloMessage, AckMessage>;
TYPED_TEST_SUITE(Leniency, Messages, MessageNames);

TYPED_TEST(Leniency, the_contracts_own_form_decodes_and_is_what_encoding_gives) {
  this->expect_specimen(map_of(TypeParam::fields()));
  EXPECT_EQ(encode_payload(TypeParam::specimen()), map_of(TypeParam::fields()));
}

TYPED_TEST(Leniency, keys_come_in_any_order) {
  auto fields = TypeParam::fields();
  std::ranges::sort(fields, {}, &WireField::name);
  std::size_t orders = 0;
  do {
    this->expect_specimen(map_of(fields));
    ++orders;
  } while (std::ranges::next_permutation(fields, {}, &WireField::name).found);
  EXPECT_EQ(orders, fields.size() == 4 ? 24U : 720U);
}

TYPED_TEST(Leniency, integers_come_in_wider_forms_signed_ones_included) {
  for (const auto& [name, value, most] : TypeParam::numbers()) {
    const auto positive = static_cast<std::int64_t>(value);
    for (const auto& form : {uint8(value), uint16(value), uint32(value), uint64(value), int8(positive), int16(positive),
                             int32(positive), int64(positive)}) {
      SCOPED_TRACE(name);
      this->expect_specimen(map_of(with(TypeParam::fields(), name, form)));
    }
  }
}

TYPED_TEST(Leniency, zero_is_no_negative_number_in_any_form) {
  for (const auto& [name, value, most] : TypeParam::numbers()) {
    for (const auto& form : {fixint(0), uint8(0), uint64(0), int8(0), int16(0), int32(0), int64(0)}) {
      EXPECT_TRUE(TypeParam::decode(map_of(with(TypeParam::fields(), name, form)))) << name;
    }
  }
}

TYPED_TEST(Leniency, the_largest_value_of_each_number_is_allowed) {
  for (const auto& [name, value, most] : TypeParam::numbers()) {
    EXPECT_TRUE(TypeParam::decode(map_of(with(TypeParam::fields(), name, uint64(most))))) << name;
  }
}

TYPED_TEST(Leniency, texts_come_in_longer_forms_where_a_shorter_one_fits) {
  const auto specimen = TypeParam::fields();
  for (const auto& name : TypeParam::texts()) {
    const auto text = text_of(std::ranges::find(specimen, name, &WireField::name)->value).substr(1);
    for (const auto& form : {str8(text), str16(text), str32(text)}) {
      SCOPED_TRACE(name);
      this->expect_specimen(map_of(with(specimen, name, form)));
    }
  }
}

TYPED_TEST(Leniency, keys_come_in_longer_forms_too) {
  Bytes payload = fixmap(TypeParam::fields().size());
  unsigned form = 0;
  for (const auto& [name, value] : TypeParam::fields()) {
    const auto key = form % 3 == 0 ? str8(name) : form % 3 == 1 ? str16(name) : str32(name);
    payload = std::move(payload) + key + value;
    ++form;
  }
  this->expect_specimen(payload);
}

TYPED_TEST(Leniency, the_map_comes_as_map16_or_map32) {
  const auto fields = TypeParam::fields();
  this->expect_specimen(map16(fields.size()) + body_of(fields));
  this->expect_specimen(map32(fields.size()) + body_of(fields));
}

TYPED_TEST(Leniency, bytes_after_the_map_are_left_alone_whatever_they_are) {
  const auto payload = map_of(TypeParam::fields());
  for (unsigned tail = 0; tail < 256; ++tail)
    this->expect_specimen(payload + Bytes(3, static_cast<std::byte>(tail)));
  this->expect_specimen(payload + Bytes(handshake_payload_bytes_max - payload.size()));
}

TYPED_TEST(Leniency, texts_are_any_utf8_including_empty_and_nul) {
  for (const auto& name : TypeParam::texts()) {
    for (const std::string& text : {std::string(), std::string("a\0b", 3), std::string("k\xc3\xb6ln"),
                                    std::string("\xf0\x9f\x8c\x8d"), std::string("\x1b[31m")}) {
      EXPECT_TRUE(TypeParam::decode(map_of(with(TypeParam::fields(), name, str(text))))) << name;
    }
  }
}

}  // namespace
}  // namespace crosslink::test
