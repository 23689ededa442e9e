#include "cli/status_text.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "cli/mirror_wait.hpp"

namespace crosslink::cli {
namespace {

using boost::json::array;
using boost::json::object;
using std::chrono::milliseconds;

object following() {
  return boost::json::parse(R"({"name":"orders","status":"Following","reason":"within 5 s of the source",
      "mode":"async","applied_lsn":1482003,"durable_lsn":1482000,"source_lsn":1482011,"lag_lsn":8,"lag_ms":210.5,
      "bytes_done":null,"bytes_total":null,"eta_ms":null,"resumed_at_bytes":null,"bootstraps":1,
      "rate_bytes_per_s":19293798,"incarnation":"aa","origin":"bb","last_error":null,"status_age_ms":10,
      "source_cluster":"prod-us","source_database":"orders","addresses":"source.example:7400","chain":["prod-us"],
      "congestion":"bbr","bandwidth_bytes_per_s":0,"paused":false,"round_trip_us":82000,"packets_lost":4,
      "packets_sent":1000,"mtu":1400,"connected":true,"reconnects":0,"attempts":0,"next_retry_ms":null,
      "throttle_bytes":0,"throttle_cap_bytes":67108864,"window_left_bytes":null,"window_left_ms":40800000,
      "last_verify":{"outcome":"equal","lsn":1480000,"at":"2026-11-25T12:00:00Z","difference_count":0,"reason":""},
      "promoted_from":null})")
      .as_object();
}

object bootstrapping() {
  auto mirror = following();
  mirror["name"] = "users";
  mirror["status"] = "Bootstrapping";
  mirror["reason"] = "a first snapshot";
  for (const char* field : {"applied_lsn", "lag_lsn", "lag_ms", "window_left_ms", "last_verify"})
    mirror[field] = nullptr;
  mirror["bytes_done"] = 4402341478ull;
  mirror["bytes_total"] = 11596411699ull;
  mirror["eta_ms"] = 168000;
  mirror["resumed_at_bytes"] = 2254857830ull;
  return mirror;
}

object disconnected() {
  auto mirror = following();
  mirror["name"] = "config";
  mirror["status"] = "Disconnected";
  mirror["reason"] = "no link since 12 s";
  mirror["connected"] = false;
  mirror["attempts"] = 4;
  mirror["next_retry_ms"] = 2000;
  mirror["reconnects"] = 1;
  mirror["last_error"] = {{"error", "Timeout"}, {"caused_by", "transport"}, {"message", "nothing was heard"}};
  return mirror;
}

TEST(StatusText, a_table_names_what_each_mirror_does_and_why) {
  const auto page = status_table({following(), bootstrapping(), disconnected()});
  EXPECT_EQ(
      page,
      "MIRROR  STATUS         MODE   APPLIED    SOURCE     LAG(LSN)  LAG(TIME)  RATE        LINK\n"
      "orders  Following      async  1 482 003  1 482 011  8         0.21s      18.4 MiB/s  up, rtt 82ms, loss "
      "0.4%, bbr\n"
      "users   Bootstrapping  async  -          1 482 011  -         -          18.4 MiB/s  37% 4.1/10.8 GiB, ETA "
      "2m48s, resumed at 2.1 GiB, up, rtt 82ms, loss 0.4%, bbr\n"
      "config  Disconnected   async  1 482 003  1 482 011  8         0.21s      18.4 MiB/s  attempt 4, next try in "
      "2.0s, 1 reconnect\n"
      "Why:              users a first snapshot · config no link since 12 s\n"
      "Last error:       config Timeout (caused by transport): nothing was heard\n"
      "Log window left:  orders 11h20m · config 11h20m\n"
      "Last verified:    orders LSN 1 480 000 equal, at 2026-11-25T12:00:00Z · config LSN 1 480 000 equal, at "
      "2026-11-25T12:00:00Z");
}

TEST(StatusText, no_mirrors_is_a_sentence) { EXPECT_NE(status_table({}).find("mirror create"), std::string::npos); }

TEST(StatusText, a_page_says_unknown_for_an_unknown_lag) {
  const auto page = status_page(bootstrapping());
  EXPECT_NE(page.find("users  Bootstrapping: a first snapshot"), std::string::npos) << page;
  EXPECT_NE(page.find("- in LSN, unknown in time"), std::string::npos) << page;
  EXPECT_NE(page.find("37% 4.1/10.8 GiB"), std::string::npos) << page;
  EXPECT_NE(page.find("prod-us/orders at source.example:7400"), std::string::npos) << page;
}

TEST(StatusText, control_characters_of_a_peer_do_not_reach_the_terminal) {
  auto mirror = following();
  mirror["status"] = "Degraded";
  mirror["reason"] = "\x1b[2J gone";
  mirror["last_error"] = {{"error", "Busy\r"}, {"caused_by", "peer"}, {"message", "\x07"}};
  for (const auto& page : {status_table({mirror}), status_page(mirror), progress_line(mirror), status_line(mirror)}) {
    EXPECT_EQ(page.find('\x1b'), std::string::npos) << page;
    EXPECT_EQ(page.find('\x07'), std::string::npos);
    EXPECT_EQ(page.find('\r'), std::string::npos);
    EXPECT_NE(page.find("\\x1b"), std::string::npos) << page;
  }
}

TEST(StatusText, fields_of_unexpected_types_are_unknown) {
  object mirror{{"name", 5}, {"status", nullptr}, {"lag_ms", "3"}, {"applied_lsn", -1}, {"chain", 7}};
  EXPECT_NE(status_table({mirror, 5}).find("-"), std::string::npos);
  EXPECT_NE(status_page(mirror).find("unknown in time"), std::string::npos);
}

TEST(StatusText, progress_is_a_bar_while_there_is_a_snapshot_and_the_status_else) {
  EXPECT_EQ(progress_line(bootstrapping()),
            "[###########                   ] users  37% 4.1/10.8 GiB, ETA 2m48s, resumed at 2.1 GiB  18.4 MiB/s");
  EXPECT_EQ(progress_line(disconnected()), "config  Disconnected: no link since 12 s (attempt 4, next try in 2.0s)");
  auto without_total = bootstrapping();
  without_total["bytes_total"] = nullptr;
  EXPECT_EQ(progress_line(without_total),
            "users  4.1 GiB of an unknown total, ETA 2m48s, resumed at 2.1 GiB  18.4 MiB/s");
}

TEST(StatusText, a_bootstrap_that_is_done_has_a_full_bar_and_without_one_there_is_none) {
  auto mirror = following();
  EXPECT_EQ(bootstrapped_line(mirror), std::nullopt);
  mirror["last_bootstrap_bytes"] = nullptr;
  EXPECT_EQ(bootstrapped_line(mirror), std::nullopt);
  mirror["last_bootstrap_bytes"] = 4402341478ull;
  EXPECT_EQ(bootstrapped_line(mirror), "[##############################] orders  100% 4.1/4.1 GiB");
}

TEST(StatusExit, lag_is_judged_only_when_asked_and_unknown_is_over) {
  EXPECT_EQ(status_exit_code({following(), bootstrapping()}, std::nullopt), 0);
  EXPECT_EQ(status_exit_code({following()}, milliseconds(211)), 0);
  EXPECT_EQ(status_exit_code({following()}, milliseconds(210)), 3);
  EXPECT_EQ(status_exit_code({bootstrapping()}, milliseconds(1000000)), 3);
}

TEST(StatusExit, the_worst_mirror_decides) {
  EXPECT_EQ(status_exit_code({disconnected(), following()}, std::nullopt), 4);
  EXPECT_EQ(status_exit_code({following(), disconnected()}, milliseconds(1)), 4);
  EXPECT_EQ(status_exit_code({}, milliseconds(1)), 0);
}

TEST(StatusExit, a_promoted_mirror_has_no_lag_to_pass) {
  auto mirror = following();
  mirror["status"] = "Promoted";
  mirror["lag_ms"] = nullptr;
  EXPECT_EQ(status_exit_code({mirror}, milliseconds(1)), 0);
}

TEST(Waiting, no_mirror_at_all_is_not_following) {
  EXPECT_FALSE(all_following({}));
  EXPECT_TRUE(all_following({following()}));
  EXPECT_FALSE(all_following({following(), bootstrapping()}));
}

TEST(Waiting, ends_where_only_an_operator_helps) {
  EXPECT_FALSE(hopeless(following(), true));
  EXPECT_FALSE(hopeless(disconnected(), true));
  auto refused = disconnected();
  refused["last_error"] = {{"error", "NotAuthorized"}, {"caused_by", "peer"}, {"message", "not allowed"}};
  EXPECT_FALSE(hopeless(refused, false));
  ASSERT_TRUE(hopeless(refused, true));
  EXPECT_EQ(hopeless(refused, true)->kind(), ErrorKind::NotAuthorized);
  EXPECT_EQ(exit_code(*hopeless(refused, true)), 6);
  auto halted = following();
  halted["status"] = "Halted";
  halted["last_error"] = {{"error", "SourceBehind"}, {"caused_by", "peer"}, {"message", "the source is behind"}};
  ASSERT_TRUE(hopeless(halted, false));
  EXPECT_EQ(hopeless(halted, false)->kind(), ErrorKind::SourceBehind);
  halted["status"] = "Promoted";
  ASSERT_TRUE(hopeless(halted, false));
  EXPECT_EQ(hopeless(halted, false)->kind(), ErrorKind::MirrorPromoted);
}

TEST(StatusText, a_mirror_says_which_one_it_is_and_whether_it_counts_at_its_source) {
  auto mirror = following();
  EXPECT_EQ(status_page(mirror).find("\n  sync mode"), std::string::npos);
  mirror["id"] = "0123456789abcdef0123456789abcdef";
  mirror["sync_standing"] = "not_counted";
  const auto page = status_page(mirror);
  EXPECT_NE(page.find("\n  id            0123456789abcdef0123456789abcdef\n"), std::string::npos) << page;
  EXPECT_NE(page.find("\n  sync mode     it does NOT count at the source: another mirror under its name does\n"),
            std::string::npos)
      << page;
}

}  // namespace
}  // namespace crosslink::cli
