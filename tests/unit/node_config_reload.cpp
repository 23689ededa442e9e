#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/config.hpp"
#include "node/config_changes.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

constexpr std::string_view every_table = R"(
cluster_id = "prod-us"
data_dir = "data"
[listen]
mirrors = "127.0.0.1:7400"
clients = "127.0.0.1:6380"
admin = "127.0.0.1:7401"
[tls]
ca = "ca.pem"
cert = "prod-us.pem"
key = "prod-us.key"
[clients]
[source]
[mirror]
[memory]
[database_defaults]
[[database]]
name = "packages"
)";
constexpr std::string_view etcd_table = R"([[database]]
name = "registry"
engine = "etcd"
endpoints = ["https://a:1"]
cert = "cert"
key = "key"
user = "u"
password_file = "word"
)";

/// Another value of one key; `named`: what a reload then says takes a restart, nothing of a key that holds at once.
struct Other {
  std::string table, key, value, named;
};

/// The text with this key of this table as told, whatever it was.
std::string with(std::string text, const Other& other) {
  const auto begin = other.table.empty() ? 0 : text.find(other.table + "\n") + other.table.size();
  const auto end = std::min(text.find("\n[", begin), text.size());
  if (const auto was = text.find("\n" + other.key + " = ", begin); was < end)
    text.erase(was, text.find('\n', was + 1) - was);
  return text.insert(begin, "\n" + other.key + " = " + other.value);
}

/// The keys of a table, as the error of an unknown one lists them.
std::set<std::string> known_keys(const std::string& text, const std::string& table,
                                 const std::filesystem::path& folder) {
  const auto config = parse_config(with(text, {table, "colour", "1", ""}), folder);
  const auto said = config ? std::string() : config.error().message();
  const std::string list = "colour: unknown key; known here: ";
  const auto at = said.find(list);
  EXPECT_NE(at, std::string::npos) << table << ": " << said;
  std::set<std::string> keys;
  std::istringstream names(at == std::string::npos ? "" : said.substr(at + list.size()));
  for (std::string name; std::getline(names >> std::ws, name, ',');)
    keys.insert(name);
  return keys;
}

/// Goal: a key that is added to the config is in needs_restart, or was decided to hold at once. Method: each key that the
/// parser knows gets another value here, but for those of `elsewhere`, another test's.
void expect_decided(const std::string& text, const std::vector<Other>& others, const std::set<std::string>& tables,
                    const std::filesystem::path& folder, const std::set<std::string>& elsewhere = {}) {
  const auto running = parse_config(text, folder);
  ASSERT_TRUE(running.ok()) << running.error().message();
  const auto is_known = [](std::string_view name) { return name != "other"; };
  std::set<std::string> decided, known;
  for (const auto& other : others) {
    decided.insert(other.table + other.key);
    const auto fresh = parse_config(with(text, other), folder);
    ASSERT_TRUE(fresh.ok()) << fresh.error().message();
    const auto named = needs_restart(*running, *fresh, is_known);
    if (other.named.empty()) {
      EXPECT_EQ(named, std::vector<std::string>()) << other.table << other.key;
    } else {
      EXPECT_TRUE(std::ranges::find(named, other.named) != named.end()) << other.table << other.key;
    }
  }
  for (const auto& table : tables) {
    for (const auto& key : known_keys(text, table, folder)) {
      if (!elsewhere.contains(key)) known.insert(table + key);
    }
  }
  for (const auto* table : {"listen", "tls", "clients", "source", "mirror", "memory", "database_defaults", "database"})
    known.erase(table);
  EXPECT_EQ(decided, known);
}

void write_password(const std::filesystem::path& file) {
  std::ofstream(file) << "secret\n";
  std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

/// The keys that a table of a database in RocksDB and the defaults share.
void add_database_keys(std::vector<Other>& others, const std::string& table, const std::string& name) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"sync", "\"never\""},
                                                                                   {"compression", "\"zstd\""},
                                                                                   {"cache_bytes", "\"7MiB\""},
                                                                                   {"min_free_bytes", "\"7MiB\""},
                                                                                   {"log_window_bytes", "\"7MiB\""},
                                                                                   {"log_window_time", "\"7h\""},
                                                                                   {"log_budget_bytes", "\"7GiB\""},
                                                                                   {"snapshot_formats", "[\"kv\"]"},
                                                                                   {"sync_timeout", "\"7s\""},
                                                                                   {"on_sync_loss", "\"async\""},
                                                                                   {"target_revisions_kept", "7"}})
    others.push_back({table, key, value, name + "." + key});
  others.push_back({table, "allow_mirrors", "[\"eu-1\"]", ""});
}

TEST(NodeConfig, a_key_was_neither_named_by_a_reload_nor_held_at_once) {
  const test::TemporaryFolder folder;
  write_password(folder.path() / "word");
  std::vector<Other> others{
      {"", "cluster_id", "\"other\"", "cluster_id"},
      {"", "data_dir", "\"other\"", "data_dir"},
      {"[listen]", "mirrors", "\"127.0.0.1:1\"", "listen.mirrors"},
      {"[listen]", "clients", "\"127.0.0.1:1\"", "listen.clients"},
      {"[listen]", "admin", "\"127.0.0.1:1\"", "listen.admin"},
      {"[tls]", "ca", "\"other\"", ""},
      {"[tls]", "cert", "\"other\"", ""},
      {"[tls]", "key", "\"other\"", ""},
      {"[tls]", "denied_serials", "[\"6F\"]", ""},
      {"[clients]", "password_file", "\"word\"", ""},
      {"[clients]", "connections_max", "7", "clients.connections_max"},
      {"[clients]", "buffers_bytes", "\"7GiB\"", "clients.buffers_bytes"},
      {"[source]", "mirrors_per_name_max", "7", "source.mirrors_per_name_max"},
      {"[source]", "mirrors_max", "700", "source.mirrors_max"},
      {"[source]", "stall_max", "\"7m\"", "source.stall_max"},
      {"[mirror]", "disconnected_after", "\"70s\"", "mirror.disconnected_after"},
      {"[memory]", "cache_bytes", "\"70MiB\"", "memory.cache_bytes"},
      {"[memory]", "write_buffers_bytes", "\"70MiB\"", "memory.write_buffers_bytes"},
      {"[[database]]", "name", "\"other\"", "database 'other', which is new"},
      {"[[database]]", "engine", "\"etcd\"\nendpoints = [\"http://a:1\"]", "database 'packages'.engine"},
      {"[[database]]", "sync_mirrors", "[\"eu-1\"]", "database 'packages'.sync_mirrors"}};
  add_database_keys(others, "[[database]]", "database 'packages'");
  add_database_keys(others, "[database_defaults]", "database_defaults");
  others.push_back({"[database_defaults]", "sync_mirrors", "[\"eu-1\"]", "database_defaults.sync_mirrors"});
  expect_decided(
      std::string(every_table), others,
      {"", "[listen]", "[tls]", "[clients]", "[source]", "[mirror]", "[memory]", "[database_defaults]", "[[database]]"},
      folder.path());
}

TEST(NodeConfig, a_key_of_where_an_etcd_is_was_not_named_by_a_reload) {
  const test::TemporaryFolder folder;
  for (const auto* name : {"word", "other", "cert", "key"})
    write_password(folder.path() / name);
  const auto head = std::string(every_table.substr(0, every_table.find("[[database]]")));
  const std::string table = "[[database]]", place = "database 'registry'.engine's keys";
  std::vector<Other> others{{table, "endpoints", "[\"https://b:1\"]", place},
                            {table, "prefix", "\"/other/\"", place},
                            {table, "excludes", "[\"/other/\"]", place},
                            {table, "cacert", "\"other\"", place},
                            {table, "cert", "\"other\"", place},
                            {table, "key", "\"other\"", place},
                            {table, "user", "\"other\"", place},
                            {table, "password_file", "\"other\"", place},
                            {table, "allow_password_in_clear", "true", place}};
  expect_decided(head + std::string(etcd_table), others, {table}, folder.path(),
                 known_keys(std::string(every_table), table, folder.path()));
}

}  // namespace
}  // namespace crosslink::node
