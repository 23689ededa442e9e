// What a request to the admin port says: what is said twice, or means nothing, is an error and never something else.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "node/admin/body_fields.hpp"
#include "node/admin/mirror_plan.hpp"
#include "node/hosting/etcd_place.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

std::string said(const Result<json::object>& body) { return body ? json::serialize(*body) : body.error().message(); }

TEST(AdminBody, a_field_that_is_there_twice_is_refused_at_any_depth) {
  EXPECT_EQ(said(read_body(R"({"dry_run":true,"dry_run":false})")), "dry_run: is there twice");
  EXPECT_EQ(said(read_body(R"({"etcd":{"prefix":"/a/","user":"x","prefix":"/b/"}})")), "prefix: is there twice");
  EXPECT_EQ(said(read_body(R"({"a":[{"b":1},{"c":1,"\u0063":2}]})")), "c: is there twice") << "however it is spelt";
  EXPECT_EQ(said(read_body(R"({"yes":true,"yes":true})")), "yes: is there twice") << "whatever is said";
}

TEST(AdminBody, the_same_name_in_two_objects_is_no_field_twice) {
  const std::string text = R"({"a":{"a":1,"b":[{"a":2},{"a":3}]},"b":"a"})";
  EXPECT_EQ(said(read_body(text)), text);
  EXPECT_EQ(said(read_body("{}")), "{}");
}

TEST(AdminBody, what_is_no_object_is_refused) {
  for (const auto* text : {"", "[]", "null", "\"a\"", "{", "{} {}", "{\"a\":NaN}"})
    EXPECT_EQ(said(read_body(text)), "the body must be a JSON object") << text;
}

TEST(AdminBody, a_flag_of_a_query_is_said_once_and_known) {
  const auto good = read_flags("keep_data=true&promoted=false", {"keep_data", "promoted"});
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, std::set<std::string_view>{"keep_data"});
  EXPECT_TRUE(read_flags("", {"followed"}));
  for (const auto* query :
       {"keep_data=true&keep_data=false", "keep_data=false&keep_data=true", "keep_data=true&keep_data=true",
        "keep_data", "keep_data=1", "keepdata=true", "&", "keep_data=true&promoted", "%6beep_data=true"})
    EXPECT_FALSE(read_flags(query, {"keep_data", "promoted"})) << query;
}

std::string why_no_mirror(json::object more) {
  json::object body{{"name", "orders"}, {"from", "prod-us/orders"}, {"addr", "127.0.0.1:7400"}};
  for (auto& [field, value] : more)
    body[field] = std::move(value);
  const auto request = read_mirror_request(body);
  return request ? "" : request.error().message();
}

TEST(AdminBody, a_mirror_is_of_a_name_that_a_database_can_have) {
  EXPECT_EQ(why_no_mirror({}), "");
  EXPECT_EQ(why_no_mirror({{"from", "prod-us/or/ders"}}), "from: no database's name has a '/' in it");
}

TEST(AdminBody, a_sources_address_is_named_once) {
  EXPECT_EQ(why_no_mirror({{"addr", "a.example:1,b.example:1, A.example:1"}}), "addr: 'A.example:1' is there twice");
  EXPECT_EQ(why_no_mirror({{"addr", "a.example:1,a.example:2"}}), "");
}

TEST(AdminBody, an_etcd_endpoint_is_an_address_and_no_path) {
  EtcdPlace place;
  for (const auto* good : {"http://10.0.0.1:2379", "http://[::1]:2379", "https://etcd.example:2379"}) {
    place.cluster.endpoints = {good};
    EXPECT_TRUE(check_etcd_place(place)) << good;
  }
  for (const auto* bad : {"http://10.0.0.1:2379/foo", "http://10.0.0.1:2379/", "http://10.0.0.1:2379?a=b",
                          "http://user@10.0.0.1:2379", "http://10.0.0.1:2379#a"}) {
    place.cluster.endpoints = {bad};
    EXPECT_FALSE(check_etcd_place(place)) << bad;
  }
}

}  // namespace
}  // namespace crosslink::node
