#include "cli/admin_text.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace crosslink::cli {
namespace {

using boost::json::object;
using std::chrono::milliseconds;

object parse(const char* text) { return boost::json::parse(text).as_object(); }

TEST(AdminText, an_equal_verify_says_where_and_how_much) {
  const auto verify = parse(R"({"name":"orders","outcome":"equal","reason":"","lsn":1482000,"keys_compared":12400118,
      "difference_count":0,"all_counted":true,"differences":[]})");
  EXPECT_EQ(verify_text(verify, milliseconds(31200)),
            "orders  compared at LSN 1 482 000\nkeys    12 400 118 compared\nRESULT  EQUAL in 31.2s");
}

TEST(AdminText, a_different_verify_names_keys_and_counts_the_rest) {
  const auto verify = parse(R"({"name":"orders","outcome":"different","reason":"","lsn":7,"keys_compared":9,
      "difference_count":5,"all_counted":false,"differences":[{"key":"a\\x00","kind":"missing"},
      {"key":"b","kind":"extra"},{"key":"c","kind":"value"}]})");
  EXPECT_EQ(verify_text(verify, milliseconds(200), 2),
            "orders  compared at LSN 7\nkeys    9 compared, at least 5 differ\n  missing  a\\x00\n  extra    b\n"
            "  and 3 more\nRESULT  DIFFERENT in 0.20s");
}

TEST(AdminText, a_verify_that_could_not_tell_is_never_equal) {
  const auto verify = parse(R"({"name":"orders","outcome":"unknown","reason":"the link was lost","lsn":0})");
  const auto page = verify_text(verify, milliseconds(200));
  EXPECT_NE(page.find("COULD NOT TELL in 0.20s: the link was lost"), std::string::npos) << page;
  EXPECT_NE(verify_text(parse("{}"), milliseconds(1)).find("COULD NOT TELL"), std::string::npos);
}

TEST(AdminText, promote_says_what_is_lost_or_that_it_is_not_known) {
  auto promoted = parse(R"({"name":"orders","dry_run":false,"promoted":true,"lsn":1482003,"incarnation":"aa",
      "origin":"bb","source_cluster":"prod-us","source_database":"orders","source_lsn":1482011,"lag_ms":210,
      "lost":{"known":true,"entries_lsn":8,"detail":"8 LSN the source last told of"},"again":false})");
  EXPECT_EQ(promote_text(promoted),
            "orders is promoted at LSN 1 482 003 and takes writes now\n"
            "  source        prod-us/orders, last heard of at LSN 1 482 011\n"
            "  lag           0.21s\n"
            "  lost          8 in LSN: 8 LSN the source last told of\n"
            "  incarnation   aa\n  origin        bb");
  const auto lost = [&](const char* said) {
    promoted["lost"] = parse(said);
    const auto page = promote_text(promoted);
    const auto line = page.substr(page.find("  lost "));
    return line.substr(0, line.find('\n'));
  };
  EXPECT_EQ(lost(R"({"known":true,"entries_lsn":0,"heard_ms_ago":141.2,"detail":"all is here"})"),
            "  lost          nothing that the source had 141 ms ago: all is here");
  EXPECT_EQ(lost(R"({"known":false,"entries_lsn":0,"detail":"heard long ago"})"),
            "  lost          not known: heard long ago");
  EXPECT_EQ(lost(R"({"known":false,"entries_lsn":8,"detail":"heard long ago"})"),
            "  lost          at least 8 in LSN: heard long ago");
  promoted["lost"] = parse(R"({"known":false,"entries_lsn":null,"detail":"the source was not heard"})");
  promoted["source_lsn"] = nullptr;
  promoted["lag_ms"] = nullptr;
  EXPECT_NE(promote_text(promoted).find("lost          not known: the source was not heard"), std::string::npos);
  promoted["again"] = true;
  EXPECT_NE(promote_text(promoted).find("was promoted before, at LSN 1 482 003"), std::string::npos);
  promoted["again"] = false;
  promoted["over_required_lag"] = true;
  EXPECT_NE(promote_text(promoted).find(": OVER what --require-lag allows"), std::string::npos);
  promoted["over_required_lag"] = false;
  EXPECT_EQ(promote_text(promoted).find("OVER"), std::string::npos);
  promoted["dry_run"] = true;
  EXPECT_NE(promote_text(promoted).find("would be promoted at LSN 1 482 003; nothing was changed"), std::string::npos);
}

TEST(AdminText, a_dry_run_marks_what_failed) {
  const auto dry = parse(R"({"dry_run":true,"ok":false,"exit_code":6,"replaced":null,"checks":[
      {"check":"reachable","ok":true,"detail":"answers"},{"check":"identity","ok":false,"detail":"it is prod-eu"}]})");
  EXPECT_EQ(checks_text(dry),
            "ok      reachable  answers\nFAILED  identity   it is prod-eu\n"
            "nothing was changed; the mirror cannot be made like this");
}

TEST(AdminText, replaced_data_is_named_by_key_or_its_keys_are_called_unknown) {
  auto replaced = parse(R"({"applied_lsn_there":90,"first_lsn":91,"last_lsn":1100,"entries":1010,"keys":["a","b"],
      "keys_total":2,"keys_known":true,"set_aside":"/data/set-aside/orders","detail":"written after the promotion"})");
  EXPECT_EQ(replaced_text(replaced),
            "replaced: written after the promotion\n    a\n    b\n  the old data is kept at /data/set-aside/orders");
  replaced["keys_known"] = false;
  replaced["keys"] = nullptr;
  EXPECT_NE(replaced_text(replaced).find("which keys these are is not known"), std::string::npos);
}

TEST(AdminText, databases_show_who_may_and_who_does_follow_them) {
  const auto body = parse(R"({"databases":[
      {"name":"packages","index":0,"kind":"root","role":"root","head_lsn":5000,"oldest_lsn":1,"incarnation":"aa",
       "allow_mirrors":["eu-standby"],"sync":{"mirrors":["eu-standby"],"suspended":true},
       "mirrors":[{"name":"eu-standby","address":"127.0.0.1:9","applied_lsn":4999,"durable_lsn":4990,
                   "database":"eu-1/packages","id":"0123"},
                  {"name":"eu-standby","address":"127.0.0.1:8","applied_lsn":null,"database":null,"id":null}]},
      {"name":"free","index":1,"kind":"root","role":"root","head_lsn":0,"oldest_lsn":0,"allow_mirrors":null,"sync":null,
       "mirrors":[]}]})");
  EXPECT_EQ(database_table(body.at("databases").as_array()),
            "INDEX  DATABASE  KIND  ROLE  HEAD   OLDEST  ALLOWED     SYNC                    FOLLOWED BY\n"
            "0      packages  root  root  5 000  1       eu-standby  eu-standby (suspended)  eu-standby: eu-1/packages "
            "(id 0123), "
            "applied 4 999; eu-standby: one that says no id, applied unknown\n"
            "1      free      root  root  0      0       any         -");
}

TEST(AdminText, a_delete_says_that_a_record_stays_in_etcd) {
  auto deleted = parse(R"({"name":"orders","data":"left","set_aside":null,"record_left":null,
      "left":{"kept_at":"etcd http://a:1","keys":1000,"prefix":"/app/","shown":[],"detail":""}})");
  EXPECT_EQ(deleted_text(deleted), "orders  deleted; 1 000 keys stay below \"/app/\" at etcd http://a:1");
  deleted["left"].as_object()["keys"] = nullptr;
  deleted["left"].as_object()["detail"] = "how many is not known: it was not open";
  deleted["record_left"] = parse(R"({"kept_at":"etcd http://a:1","key":"/crosslink/orders","detail":"no answer"})");
  EXPECT_EQ(deleted_text(deleted),
            "orders  deleted; its keys stay in etcd, where it wrote them; how many is not known: it was not open\n"
            "its record /crosslink/orders stays at etcd http://a:1, since the node could not remove it: no answer. "
            "Another mirror of that name would go on from it, or be refused when it cannot be read: once etcd answers, "
            "`etcdctl del /crosslink/orders` and "
            "`etcdctl del --prefix /crosslink/orders/` remove it");
  deleted["record_left"].as_object()["in_use"] = true;
  deleted["record_left"].as_object()["detail"] = "node a promoted this mirror";
  EXPECT_EQ(deleted_text(deleted),
            "orders  deleted; its keys stay in etcd, where it wrote them; how many is not known: it was not open\n"
            "its record /crosslink/orders stays at etcd http://a:1: node a promoted this mirror. Leave it there: that "
            "node needs it");
}

}  // namespace
}  // namespace crosslink::cli
