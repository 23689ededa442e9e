// The golden vectors: made by the other implementation, so each is a proof that the two understand one another.
#include <gtest/gtest.h>

#include <boost/json/src.hpp>
#include <fstream>
#include <set>
#include <sstream>

#include "core_wire.hpp"
#include "crosslink/frame.hpp"

namespace crosslink::test {
namespace {

namespace json = boost::json;

const json::object& vectors() {
  static const json::value parsed = [] {
    std::ifstream file(CROSSLINK_UNIT_DIR "/handshake_vectors.json");
    std::stringstream text;
    text << file.rdbuf();
    return json::parse(text.str());
  }();
  return parsed.as_object();
}

std::string text_in(const json::object& vector, std::string_view name) {
  return json::value_to<std::string>(vector.at(name));
}
std::uint64_t number_in(const json::object& vector, std::string_view name) {
  return vector.at(name).to_number<std::uint64_t>();
}

Bytes frame_in(const json::object& vector) {
  const auto hex = text_in(vector, "frame_hex");
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

MirrorHello hello_in(const json::object& vector) {
  return {ClusterId(text_in(vector, "source_cluster")), DatabaseId(text_in(vector, "source_database_id")),
          Lsn{number_in(vector, "last_applied_lsn")}, vector.at("protocol_version").to_number<std::uint16_t>()};
}

MirrorHelloAck ack_in(const json::object& vector) {
  return {vector.at("accepted").as_bool(),        vector.at("error_code").to_number<std::uint8_t>(),
          text_in(vector, "error_detail"),        ClusterId(text_in(vector, "source_cluster_id")),
          Lsn{number_in(vector, "snapshot_lsn")}, number_in(vector, "snapshot_bytes_total")};
}

/// The payload of the vector's frame, after its header has been checked.
Bytes payload_in(const json::object& vector, std::uint8_t kind) {
  const auto bytes = frame_in(vector);
  FrameAssembler assembler(handshake_payload_bytes_max);
  auto progress = assembler.feed(bytes);
  EXPECT_TRUE(progress && progress->frame) << "no whole frame: " << text_in(vector, "frame_hex");
  if (!progress || !progress->frame) return {};
  EXPECT_EQ(progress->consumed_bytes, bytes.size());
  EXPECT_EQ(progress->frame->kind, kind);
  return progress->frame->payload;
}

std::set<std::string> keys_of(const json::object& vector) {
  std::set<std::string> keys;
  for (const auto& member : vector)
    keys.emplace(member.key());
  return keys;
}

TEST(GoldenVectors, are_thirteen_of_each_message_with_the_messages_field_names_and_the_frame) {
  ASSERT_EQ(vectors().at("hello").as_array().size(), 13U);
  ASSERT_EQ(vectors().at("ack").as_array().size(), 13U);
  for (const auto& vector : vectors().at("hello").as_array()) {
    EXPECT_EQ(keys_of(vector.as_object()),
              (std::set<std::string>{"source_cluster", "source_database_id", "last_applied_lsn", "protocol_version",
                                     "frame_hex"}));
  }
  for (const auto& vector : vectors().at("ack").as_array()) {
    EXPECT_EQ(keys_of(vector.as_object()),
              (std::set<std::string>{"accepted", "error_code", "error_detail", "source_cluster_id", "snapshot_lsn",
                                     "snapshot_bytes_total", "frame_hex"}));
  }
}

TEST(GoldenVectors, every_hello_decodes_to_its_fields) {
  for (const auto& vector : vectors().at("hello").as_array()) {
    const auto hello = decode_hello(payload_in(vector.as_object(), frame_kind::mirror_hello));
    ASSERT_TRUE(hello) << hello.error().message();
    EXPECT_EQ(*hello, hello_in(vector.as_object()));
  }
}

TEST(GoldenVectors, every_hello_encodes_byte_for_byte) {
  for (const auto& vector : vectors().at("hello").as_array()) {
    const auto frame = encode_frame(hello_in(vector.as_object()));
    ASSERT_TRUE(frame) << frame.error().message();
    EXPECT_EQ(*frame, frame_in(vector.as_object()));
  }
}

TEST(GoldenVectors, every_ack_decodes_to_its_fields) {
  for (const auto& vector : vectors().at("ack").as_array()) {
    const auto ack = decode_ack(payload_in(vector.as_object(), frame_kind::mirror_hello_ack));
    ASSERT_TRUE(ack) << ack.error().message();
    EXPECT_EQ(*ack, ack_in(vector.as_object()));
  }
}

TEST(GoldenVectors, every_ack_encodes_byte_for_byte) {
  for (const auto& vector : vectors().at("ack").as_array()) {
    const auto frame = encode_frame(ack_in(vector.as_object()));
    ASSERT_TRUE(frame) << frame.error().message();
    EXPECT_EQ(*frame, frame_in(vector.as_object()));
  }
}

TEST(GoldenVectors, cut_at_any_byte_never_decode) {
  for (const auto& vector : vectors().at("hello").as_array()) {
    const auto payload = payload_in(vector.as_object(), frame_kind::mirror_hello);
    for (std::size_t size = 0; size < payload.size(); ++size)
      EXPECT_FALSE(decode_hello(std::span(payload).first(size))) << size;
  }
  for (const auto& vector : vectors().at("ack").as_array()) {
    const auto payload = payload_in(vector.as_object(), frame_kind::mirror_hello_ack);
    for (std::size_t size = 0; size < payload.size(); ++size)
      EXPECT_FALSE(decode_ack(std::span(payload).first(size))) << size;
  }
}

}  // namespace
}  // namespace crosslink::test
