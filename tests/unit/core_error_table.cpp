// The one error table: complete, unambiguous, and the same in docs/protocol.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "crosslink/error.hpp"

namespace crosslink::test {
namespace {

TEST(ErrorTable, has_one_row_per_kind_and_gives_each_by_its_kind) {
  std::set<std::string_view> names;
  for (const auto& rule : error_rules()) {
    EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
    EXPECT_EQ(&rule_of(rule.kind), &rule);
    EXPECT_EQ(to_string(rule.kind), rule.name);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ErrorKind::UnsupportedOperation) + 1);
}

TEST(ErrorTable, has_exactly_the_wire_codes_of_the_contract) {
  std::map<std::string_view, std::uint64_t> codes;
  for (const auto& rule : error_rules()) {
    if (rule.wire_code) codes[rule.name] = *rule.wire_code;
  }
  EXPECT_EQ(codes, (std::map<std::string_view, std::uint64_t>{{"ClusterIdMismatch", 0x01},
                                                              {"ObserverRoleViolation", 0x02},
                                                              {"ProtocolVersionMismatch", 0x03},
                                                              {"UnknownDatabase", 0x04},
                                                              {"NotAuthorized", 0x06},
                                                              {"Busy", 0x08},
                                                              {"HandshakeCodec", 0x10},
                                                              {"Timeout", 0x11},
                                                              {"ProtocolViolation", 0x12}}));
}

TEST(ErrorTable, finds_a_kind_by_its_wire_code_and_nothing_by_any_other) {
  std::set<std::uint64_t> known;
  for (const auto& rule : error_rules()) {
    if (!rule.wire_code) continue;
    EXPECT_TRUE(known.insert(*rule.wire_code).second) << "doubled: " << *rule.wire_code;
    EXPECT_EQ(kind_of_wire_code(*rule.wire_code), rule.kind);
  }
  EXPECT_EQ(kind_of_wire_code(normal_close_code), std::nullopt);
  for (std::uint64_t code = 0; code < 1024; ++code)
    EXPECT_EQ(kind_of_wire_code(code).has_value(), known.contains(code)) << code;
  EXPECT_EQ(kind_of_wire_code(UINT64_MAX), std::nullopt);
  EXPECT_EQ(kind_of_wire_code(0x100000001), std::nullopt);
}

TEST(ErrorTable, ends_commands_with_the_exit_codes_of_the_contract) {
  const std::map<std::string_view, std::optional<int>> wanted = {{"ClusterIdMismatch", 6},
                                                                 {"ObserverRoleViolation", 6},
                                                                 {"ProtocolVersionMismatch", 6},
                                                                 {"UnknownDatabase", 6},
                                                                 {"NotAuthorized", 6},
                                                                 {"Busy", 4},
                                                                 {"TlsRefused", 6},
                                                                 {"HandshakeCodec", 1},
                                                                 {"Transport", 4},
                                                                 {"Timeout", 4},
                                                                 {"ProtocolViolation", 1},
                                                                 {"NotConnected", 1},
                                                                 {"AlreadyConnected", 1},
                                                                 {"Cancelled", 1},
                                                                 {"MirrorPromoted", 6},
                                                                 {"Configuration", 2},
                                                                 {"Storage", 1},
                                                                 {"OutcomeUnknown", 1},
                                                                 {"SnapshotOffsetRegression", 1},
                                                                 {"SnapshotCrcMismatch", 1},
                                                                 {"BytesInFlightCapExceeded", 1},
                                                                 {"LogWindowExceeded", std::nullopt},
                                                                 {"SourceBehind", 6},
                                                                 {"HistoriesParted", 6},
                                                                 {"OriginChanged", 6},
                                                                 {"UnsupportedOperation", 6}};
  std::map<std::string_view, std::optional<int>> found;
  for (const auto& rule : error_rules()) {
    found[rule.name] = rule.exit_code;
    EXPECT_EQ(exit_code(MirrorError(rule.kind, CausedBy::us, "x")), rule.exit_code.value_or(1)) << rule.name;
  }
  EXPECT_EQ(found, wanted);
}

TEST(ErrorTable, lets_a_name_that_does_not_resolve_exit_with_1_and_every_other_transport_fault_with_4) {
  for (unsigned i = 0; i <= static_cast<unsigned>(TransportCause::local_failure); ++i) {
    const auto cause = static_cast<TransportCause>(i);
    EXPECT_EQ(exit_code(MirrorError::transport(cause, "x")), cause == TransportCause::unresolved ? 1 : 4)
        << to_string(cause);
  }
}

TEST(ErrorTable, says_of_each_kind_what_a_reconnect_does) {
  std::map<std::string_view, std::set<std::string_view>> by_action;
  for (const auto& rule : error_rules())
    by_action[to_string(rule.in_reconnect)].insert(rule.name);
  EXPECT_EQ(by_action["hard"], (std::set<std::string_view>{
                                   "ClusterIdMismatch", "ObserverRoleViolation", "ProtocolVersionMismatch",
                                   "UnknownDatabase", "NotAuthorized", "TlsRefused", "NotConnected", "AlreadyConnected",
                                   "Cancelled", "MirrorPromoted", "Configuration", "OutcomeUnknown"}));
  EXPECT_EQ(by_action["retry"], (std::set<std::string_view>{"Busy", "HandshakeCodec", "Transport", "Timeout",
                                                            "ProtocolViolation", "BytesInFlightCapExceeded"}));
  EXPECT_EQ(by_action["halt"],
            (std::set<std::string_view>{"SourceBehind", "HistoriesParted", "OriginChanged", "UnsupportedOperation"}));
  EXPECT_EQ(by_action["session stays"], std::set<std::string_view>{"Storage"});
  EXPECT_EQ(by_action["restart the snapshot"], std::set<std::string_view>{"SnapshotOffsetRegression"});
  EXPECT_EQ(by_action["from the last good chunk"], std::set<std::string_view>{"SnapshotCrcMismatch"});
  EXPECT_EQ(by_action["bootstrap anew"], std::set<std::string_view>{"LogWindowExceeded"});
}

std::string docs_row(const ErrorRule& rule) {
  return fmt::format("| {} | {} | {} | {} | {} | {} |", rule.name, rule.raised_by,
                     rule.wire_code ? fmt::format("{:#04x}", *rule.wire_code) : "-", to_string(rule.in_reconnect),
                     rule.exit_code ? std::to_string(*rule.exit_code) : "-", rule.status);
}

/// The rows of the first table below the heading `## Errors`.
std::vector<std::string> rows_in_docs() {
  std::ifstream file(CROSSLINK_SOURCE_DIR "/docs/protocol.md");
  std::vector<std::string> rows;
  bool in_section = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) in_section = line == "## Errors";
    if (!in_section) continue;
    if (line.starts_with("|")) {
      rows.push_back(line);
    } else if (!rows.empty()) {
      break;
    }
  }
  return rows;
}

TEST(ErrorTable, is_printed_row_by_row_in_the_protocol_document) {
  std::vector<std::string> wanted = {"| kind | raised by | code | in reconnect | exit | status |",
                                     "|---|---|---|---|---|---|"};
  for (const auto& rule : error_rules())
    wanted.push_back(docs_row(rule));
  EXPECT_EQ(rows_in_docs(), wanted);
}

TEST(MirrorError, of_the_transport_says_who_caused_it) {
  std::map<std::string_view, std::set<std::string_view>> by_cause;
  std::set<std::string_view> names;
  for (unsigned i = 0; i <= static_cast<unsigned>(TransportCause::local_failure); ++i) {
    const auto error = MirrorError::transport(static_cast<TransportCause>(i), "x", 7);
    EXPECT_EQ(error.kind(), ErrorKind::Transport);
    EXPECT_EQ(error.transport_cause(), static_cast<TransportCause>(i));
    EXPECT_EQ(std::get<TransportFault>(error.data()).code, 7U);
    EXPECT_TRUE(names.insert(to_string(*error.transport_cause())).second);
    by_cause[to_string(error.caused_by())].insert(to_string(*error.transport_cause()));
  }
  EXPECT_EQ(by_cause["us"], (std::set<std::string_view>{"closed_locally", "stream_reset_locally",
                                                        "stream_finished_locally", "local_failure"}));
  EXPECT_EQ(by_cause["transport"], (std::set<std::string_view>{"unresolved", "unreachable", "handshake_timeout",
                                                               "idle_timeout", "peer_silent"}));
  EXPECT_EQ(by_cause["peer"], (std::set<std::string_view>{"refused", "closed_by_peer", "stream_reset_by_peer",
                                                          "stream_stopped_by_peer", "stream_ended_early", "protocol"}));
}

TEST(MirrorError, keeps_kind_cause_and_data_when_context_is_put_before_its_sentence) {
  const auto error =
      MirrorError::transport(TransportCause::idle_timeout, "nothing was heard", 3).with_context("db orders");
  EXPECT_EQ(error.message(), "db orders: nothing was heard");
  EXPECT_EQ(error.kind(), ErrorKind::Transport);
  EXPECT_EQ(error.caused_by(), CausedBy::transport);
  EXPECT_EQ(error.transport_cause(), TransportCause::idle_timeout);
}

TEST(MirrorError, is_made_with_the_kind_and_the_culprit_its_maker_names) {
  const auto expect = [](const MirrorError& error, ErrorKind kind, CausedBy caused_by, std::string_view message) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_EQ(error.caused_by(), caused_by);
    EXPECT_EQ(error.message(), message);
    EXPECT_EQ(error.transport_cause(), std::nullopt);
  };
  expect(MirrorError::cancelled("x"), ErrorKind::Cancelled, CausedBy::us, "cancelled: x");
  expect(MirrorError::not_connected("x"), ErrorKind::NotConnected, CausedBy::us, "not connected: x");
  expect(MirrorError::configuration("x"), ErrorKind::Configuration, CausedBy::us, "x");
  expect(MirrorError::codec("x"), ErrorKind::HandshakeCodec, CausedBy::peer, "x");
  expect(MirrorError::protocol_violation("x"), ErrorKind::ProtocolViolation, CausedBy::peer, "x");
  expect(MirrorError::timeout("x"), ErrorKind::Timeout, CausedBy::transport, "x");
  expect(MirrorError::tls_refused(CausedBy::peer, "x"), ErrorKind::TlsRefused, CausedBy::peer, "x");
}

}  // namespace
}  // namespace crosslink::test
