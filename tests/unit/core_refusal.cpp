// From an error of the source to a refusing ack, and from that to the mirror's error.
#include <gtest/gtest.h>

#include "crosslink/handshake.hpp"

namespace crosslink::test {
namespace {

const MirrorHello sent{ClusterId("prod-us"), DatabaseId("orders"), Lsn{5}, 1};
const ClusterId source("eu-1");

TEST(Refusal, of_every_kind_with_a_wire_code_comes_back_as_that_kind) {
  std::size_t kinds = 0;
  for (const auto& rule : error_rules()) {
    if (!rule.wire_code) continue;
    ++kinds;
    const auto ack = refusal(MirrorError(rule.kind, CausedBy::peer, "because of it"), source);
    EXPECT_FALSE(ack.accepted);
    EXPECT_EQ(ack.error_code, *rule.wire_code);
    EXPECT_EQ(ack.error_detail, "because of it");
    EXPECT_EQ(ack.source_cluster_id, source);
    const auto error = refused(ack, sent);
    EXPECT_EQ(error.kind(), rule.kind) << rule.name;
    EXPECT_EQ(error.caused_by(), CausedBy::peer);
    EXPECT_EQ(error.message(), "the source refuses the mirror: because of it");
  }
  EXPECT_EQ(kinds, 9U);
}

TEST(Refusal, survives_the_wire) {
  const auto ack = refusal(MirrorError(ErrorKind::NotAuthorized, CausedBy::peer, "no"), source);
  const auto decoded = decode_ack(encode_payload(ack));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, ack);
}

TEST(Refusal, of_a_kind_without_a_wire_code_goes_as_protocol_violation) {
  for (const auto& rule : error_rules()) {
    if (rule.wire_code) continue;
    EXPECT_EQ(refusal(MirrorError(rule.kind, CausedBy::us, "x"), source).error_code, 0x12) << rule.name;
  }
}

TEST(Refusal, has_its_detail_escaped_and_cut_to_512_bytes) {
  const auto ack = refusal(MirrorError(ErrorKind::Busy, CausedBy::us, "\x1b" + std::string(600, 'x')), source);
  EXPECT_EQ(ack.error_detail, "\\x1b" + std::string(508, 'x'));
}

TEST(Refused, with_a_code_nobody_defined_is_a_protocol_violation_that_names_the_code) {
  for (const unsigned code : {0x00U, 0x05U, 0x07U, 0x09U, 0x13U, 0xffU}) {
    MirrorHelloAck ack;
    ack.error_code = static_cast<std::uint8_t>(code);
    ack.error_detail = "odd";
    const auto error = refused(ack, sent);
    EXPECT_EQ(error.kind(), ErrorKind::ProtocolViolation) << code;
    EXPECT_EQ(error.caused_by(), CausedBy::peer);
    char wanted[80];
    std::snprintf(wanted, sizeof wanted, "the source refuses the mirror: odd (unknown code 0x%02x)", code);
    EXPECT_EQ(error.message(), wanted);
  }
}

TEST(Refused, never_passes_a_detail_from_the_peer_on_unescaped) {
  MirrorHelloAck ack;
  ack.error_code = 0x08;
  ack.error_detail = "\x1b[2J" + std::string(4000, 'x');
  const auto error = refused(ack, sent);
  EXPECT_EQ(error.message().find('\x1b'), std::string::npos);
  EXPECT_LE(error.message().size(), 600U);
}

TEST(Refused, carries_the_data_of_its_kind) {
  const auto data_of = [](std::uint8_t code, std::string remote = "eu-1") {
    MirrorHelloAck ack;
    ack.error_code = code;
    ack.source_cluster_id = ClusterId(std::move(remote));
    return refused(ack, sent).data();
  };
  const auto ids = std::get<ClusterIds>(data_of(0x01, "eu\n1"));
  EXPECT_EQ(ids.declared, "prod-us");
  EXPECT_EQ(ids.remote, "eu\\x0a1");
  EXPECT_EQ(std::get<VersionMismatch>(data_of(0x03)).local, 1);
  EXPECT_EQ(std::get<DatabaseName>(data_of(0x04)).database, "orders");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(data_of(0x06)));
}

}  // namespace
}  // namespace crosslink::test
