#include "node/config.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "node/config_changes.hpp"
#include "node/config_check.hpp"
#include "node/quantity.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

constexpr std::string_view least = R"(
cluster_id = "prod-us"
data_dir = "data"
[listen]
mirrors = "0.0.0.0:7400"
clients = "127.0.0.1:6380"
admin = "127.0.0.1:7401"
[tls]
ca = "ca.pem"
cert = "prod-us.pem"
key = "/keys/prod-us.key"
[[database]]
name = "packages"
)";

/// The least config with `from` replaced by `to`.
std::string with(std::string_view from, std::string_view to) {
  std::string text(least);
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}
std::string error_of(const std::string& text) {
  const auto config = parse_config(text, "/etc/crosslink");
  return config ? "" : config.error().message();
}

TEST(NodeConfig, the_least_that_works_is_read) {
  const auto config = parse_config(least, "/etc/crosslink");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->cluster_id, "prod-us");
  EXPECT_EQ(config->data_dir, "/etc/crosslink/data");
  EXPECT_EQ(config->mirrors.port, 7400);
  EXPECT_EQ(config->clients.host, "127.0.0.1");
  EXPECT_EQ(config->tls.cert, "/etc/crosslink/prod-us.pem");
  EXPECT_EQ(config->tls.key, "/keys/prod-us.key");
  ASSERT_EQ(config->databases.size(), 1u);
  EXPECT_EQ(config->databases[0].name, "packages");
  EXPECT_FALSE(config->databases[0].allow_mirrors);
}

TEST(NodeConfig, the_example_is_a_config) {
  const auto config = parse_config(example_config(), "/etc");
  ASSERT_TRUE(config) << config.error().message();
  ASSERT_EQ(config->databases.size(), 1u);
  EXPECT_EQ(config->databases[0].allow_mirrors, std::vector<std::string>{"eu-standby"});
  EXPECT_EQ(config->databases[0].log_window.time, std::chrono::hours(24));
}

/// Without the '#' before these keys.
std::string uncommented(std::string text, std::initializer_list<const char*> keys) {
  for (const std::string key : keys)
    text = std::regex_replace(text, std::regex("(^|\n)# (" + key + " = )"), "$1$2");
  return text;
}

void expect_default_limits(const NodeConfig& config) {
  const NodeConfig defaults;
  EXPECT_EQ(config.clients_max, defaults.clients_max);
  EXPECT_EQ(config.clients_buffers_bytes, defaults.clients_buffers_bytes);
  EXPECT_EQ(config.mirrors_per_name_max, defaults.mirrors_per_name_max);
  EXPECT_EQ(config.mirrors_max, defaults.mirrors_max);
  EXPECT_EQ(config.stall_max, defaults.stall_max);
  EXPECT_EQ(config.memory.cache_bytes, defaults.memory.cache_bytes);
  EXPECT_EQ(config.memory.write_buffers_bytes, defaults.memory.write_buffers_bytes);
}

TEST(NodeConfig, the_example_says_each_default) {
  const auto text = uncommented(std::string(example_config()),
                                {"sync_timeout", "on_sync_loss", "snapshot_formats", "target_revisions_kept"});
  const auto config = parse_config(text, "/etc");
  ASSERT_TRUE(config) << config.error().message();
  expect_default_limits(*config);
  EXPECT_EQ(config->disconnected_after, NodeConfig().disconnected_after);
  const DatabaseConfig of_database;
  const auto& database = config->databases.front();
  EXPECT_EQ(database.sync, of_database.sync);
  EXPECT_EQ(database.compression, of_database.compression);
  EXPECT_EQ(database.cache_bytes, of_database.cache_bytes);
  EXPECT_EQ(database.log_window.bytes, of_database.log_window.bytes);
  EXPECT_EQ(database.log_window.time, of_database.log_window.time);
  EXPECT_EQ(database.log_window.budget_bytes, of_database.log_window.budget_bytes);
  EXPECT_EQ(database.min_free_bytes, of_database.min_free_bytes);
  EXPECT_EQ(database.sync_timeout, of_database.sync_timeout);
  EXPECT_EQ(database.on_sync_loss, of_database.on_sync_loss);
  EXPECT_EQ(database.snapshot_files, of_database.snapshot_files);
  EXPECT_EQ(database.target_revisions_kept, of_database.target_revisions_kept);
}

/// The rows of docs/operating.md, "Limits": a key, and its default as a config would say it.
std::map<std::string, std::string> documented_limits() {
  static const std::regex row(R"(^\| `([a-z._]+)` \| ([^|]+) \|)");
  std::ifstream document(CROSSLINK_SOURCE_DIR "/docs/operating.md");
  std::map<std::string, std::string> limits;
  bool inside = false;
  for (std::string line; std::getline(document, line);) {
    if (line.starts_with("## ")) inside = line == "## Limits";
    std::smatch found;
    if (!inside || !std::regex_search(line, found, row)) continue;
    auto value = std::regex_replace(found[2].str(), std::regex("[ ,]"), "");
    const bool number = value.find_first_not_of("0123456789") == std::string::npos;
    limits[found[1]] = number ? value : '"' + value + '"';
  }
  return limits;
}

TEST(NodeConfig, the_limits_that_are_documented_are_the_defaults) {
  const auto limits = documented_limits();
  ASSERT_EQ(limits.size(), 7u);
  std::string text(least);
  for (const auto& [key, value] : limits) {
    const auto dot = key.find('.');
    const auto table = "[" + key.substr(0, dot) + "]\n";
    if (text.find(table) == std::string::npos) text += table;
    text.insert(text.find(table) + table.size(), key.substr(dot + 1) + " = " + value + "\n");
  }
  const auto config = parse_config(text, "/etc");
  ASSERT_TRUE(config) << config.error().message() << text;
  expect_default_limits(*config);
}

TEST(NodeConfig, each_key_of_a_database_is_read) {
  const auto config = parse_config(with("name = \"packages\"", R"(name = "p"
allow_mirrors = []
sync = "always"
compression = "zstd"
cache_bytes = "1MiB"
log_window_bytes = "8GiB"
log_window_time = "90s"
log_budget_bytes = "9GiB"
min_free_bytes = "10GiB")"),
                                   "/");
  ASSERT_TRUE(config) << config.error().message();
  const auto& database = config->databases.at(0);
  EXPECT_EQ(database.allow_mirrors, std::vector<std::string>());
  EXPECT_EQ(database.sync, RocksdbSync::always);
  EXPECT_EQ(database.compression, RocksdbCompression::zstd);
  EXPECT_EQ(database.cache_bytes, 1024u * 1024);
  EXPECT_EQ(database.log_window.bytes, 8ull << 30);
  EXPECT_EQ(database.log_window.time, std::chrono::seconds(90));
  EXPECT_EQ(database.log_window.budget_bytes, 9ull << 30);
  EXPECT_EQ(database.min_free_bytes, 10ull << 30);
}

std::string etcd_error(const std::string& more) {
  return error_of(with("name = \"packages\"", "name = \"registry\"\nengine = \"etcd\"\n" + more));
}

TEST(NodeConfig, each_key_of_a_database_in_etcd_is_read) {
  test::TemporaryFolder folder;
  for (const auto* name : {"ca.pem", "own.pem", "own.key", "word"}) {
    std::ofstream(folder.path() / name) << "x\n";
    std::filesystem::permissions(folder.path() / name, std::filesystem::perms::owner_read);
  }
  const auto config = parse_config(with("name = \"packages\"", R"(name = "registry"
engine = "etcd"
endpoints = ["https://a:1", "https://b:2"]
prefix = "/registry/"
excludes = ["/registry/events/"]
cacert = "ca.pem"
cert = "own.pem"
key = "own.key"
user = "crosslink"
password_file = "word"
target_revisions_kept = 5000
log_window_bytes = "1GiB")"),
                                   folder.path());
  ASSERT_TRUE(config) << config.error().message();
  const auto& database = config->databases.at(0);
  EtcdPlace expected;
  expected.cluster.endpoints = {"https://a:1", "https://b:2"};
  expected.prefix = "/registry/";
  expected.excludes = {"/registry/events/"};
  expected.cluster.ca_file = folder.path() / "ca.pem";
  expected.cluster.cert_file = folder.path() / "own.pem";
  expected.cluster.key_file = folder.path() / "own.key";
  expected.cluster.user = "crosslink";
  expected.cluster.password_file = folder.path() / "word";
  EXPECT_EQ(database.etcd, expected);
  EXPECT_EQ(database.log_window.bytes, 1ull << 30);
  EXPECT_EQ(database.target_revisions_kept, 5000u);
  expected.target_revisions_kept = 0;
  const auto again = read_etcd_place(write_etcd_place(expected));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, expected);
}

TEST(NodeConfig, the_target_of_a_mirror_is_compacted_to_the_length_that_is_said_or_never) {
  const auto kept = [](const std::string& line) {
    const auto config = parse_config(with("name = \"packages\"", "name = \"p\"\n" + line), "");
    return config ? std::to_string(config->databases.at(0).target_revisions_kept) : config.error().message();
  };
  EXPECT_EQ(kept(""), "100000");
  EXPECT_EQ(kept("target_revisions_kept = 70"), "70");
  EXPECT_EQ(kept("target_revisions_kept = \"off\""), "0");
  EXPECT_EQ(kept("target_revisions_kept = \"all\""),
            "config: database 1.target_revisions_kept: must be \"off\" or a number up to 1000000000");
}

TEST(NodeConfig, files_for_etcd_are_not_the_configs_matter_and_are_named_by_their_own_check) {
  test::TemporaryFolder folder;
  const auto read = [&folder](const std::string& more) {
    return parse_config(
        with("name = \"packages\"", "name = \"p\"\nengine = \"etcd\"\nendpoints = [\"https://a:1\"]\n" + more),
        folder.path());
  };
  const auto config = read("user = \"u\"\npassword_file = \"word\"");
  ASSERT_TRUE(config) << config.error().message();
  const auto file = folder.path() / "word";
  std::ofstream(file) << "secret\n";
  std::filesystem::permissions(file, std::filesystem::perms(0604));
  const auto readable = check_databases(*config);
  ASSERT_FALSE(readable);
  EXPECT_EQ(readable.error().message().find("database p: others may read " + file.string()), 0u)
      << readable.error().message();
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  EXPECT_TRUE(check_databases(*config));
  const auto missing = check_databases(*read("cacert = \"none.pem\""));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message().find("database p: the CA file '" + (folder.path() / "none.pem").string() +
                                           "' does not exist"),
            0u)
      << missing.error().message();
}

TEST(NodeConfig, a_password_for_etcd_goes_to_other_machines_with_tls_or_by_an_allowance_of_its_own) {
  const std::string user = "\nuser = \"u\"\npassword_file = \"word\"";
  for (const auto* endpoint :
       {"http://10.0.0.1:2379", "http://etcd.example:2379", "http://[fd00::1]:2379", "http://127.0.0.1.example:2379"}) {
    const auto endpoints = std::string("endpoints = [\"http://localhost:1\", \"") + endpoint + "\"]";
    EXPECT_NE(etcd_error(endpoints + user).find("the password of user u would go to " + std::string(endpoint)),
              std::string::npos)
        << etcd_error(endpoints + user);
    EXPECT_EQ(etcd_error(endpoints), "");
    EXPECT_EQ(etcd_error(endpoints + user + "\nallow_password_in_clear = true"), "");
  }
  for (const auto* endpoint : {"http://127.0.0.1:2379", "http://127.3.3.3:2379", "http://localhost:2379",
                               "http://[::1]:2379", "https://10.0.0.1:2379"})
    EXPECT_EQ(etcd_error(std::string("endpoints = [\"") + endpoint + "\"]" + user), "") << endpoint;
  EtcdPlace place;
  place.password_in_clear = true;
  EXPECT_EQ(*read_etcd_place(write_etcd_place(place)), place);
}

TEST(NodeConfig, a_source_is_told_to_send_pairs_only) {
  const auto read = [](const std::string& line) {
    return parse_config(std::string(least) + "[database_defaults]\n" + line, "/");
  };
  EXPECT_TRUE(read("")->database_defaults.snapshot_files);
  EXPECT_TRUE(read("snapshot_formats = [\"files\", \"kv\"]")->database_defaults.snapshot_files);
  EXPECT_FALSE(read("snapshot_formats = [\"kv\"]")->database_defaults.snapshot_files);
  for (const auto* line :
       {"snapshot_formats = []", "snapshot_formats = [\"files\"]", "snapshot_formats = [\"sst\", \"kv\"]"})
    EXPECT_EQ(read(line).error().message(),
              "config: database_defaults.snapshot_formats: must be [\"kv\"] or [\"files\", \"kv\"]");
}

TEST(NodeConfig, mistakes_of_a_database_in_etcd_are_named) {
  const auto expect = [](const std::string& more, std::string_view part) {
    EXPECT_NE(etcd_error(more).find(part), std::string::npos) << etcd_error(more);
  };
  expect("", "endpoints: at least one");
  expect("endpoints = [\"10.0.0.1:2379\"]", "is not http://HOST:PORT");
  expect("endpoints = [\"http://a:1\", \"https://b:1\"]", "all of one kind");
  expect("endpoints = [\"http://a:1\"]\ncacert = \"x\"", "https://");
  expect("endpoints = [\"https://a:1\"]\ncert = \"x\"", "one needs the other");
  expect("endpoints = [\"http://a:1\"]\nsnapshot_formats = [\"kv\"]", "snapshot_formats: is of engine");
  expect("endpoints = [\"http://a:1\"]\nuser = \"x\"", "password_file");
  expect("endpoints = [\"http://a:1\"]\nsync = \"always\"", "sync: is of engine");
  expect("endpoints = [\"http://a:1\"]\nsync_mirrors = [\"eu-1\"]", "sync_mirrors: is of engine");
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\nengine = \"lmdb\"")),
            "config: database 1.engine: must be \"rocksdb\" or \"etcd\"");
}

TEST(NodeConfig, mistakes_are_named) {
  EXPECT_EQ(error_of(with("cluster_id", "cluster")), "config: cluster_id: is missing");
  EXPECT_EQ(error_of(with("\"prod-us\"\ndata", "\"prod us\"\ndata")),
            "config: cluster_id: must be a DNS name such as prod-us");
  EXPECT_EQ(error_of(with("data_dir = \"data\"", "data_dir = 5")), "config: data_dir: must be a text in quotes");
  EXPECT_EQ(error_of(with("[tls]", "[tsl]")),
            "config: tsl: unknown key; known here: clients, cluster_id, data_dir, database, "
            "database_defaults, listen, memory, mirror, source, tls");
  EXPECT_EQ(error_of(with("ca = ", "x = 1\nca = ")),
            "config: tls.x: unknown key; known here: ca, cert, denied_serials, key");
  EXPECT_EQ(error_of(with("127.0.0.1:6380", "6380")).substr(0, 24), "config: listen.clients: ");
  EXPECT_EQ(
      error_of(with("name = \"packages\"", "name = \".x\"")),
      "config: database 1.name: must be 1 to 64 of A-Z a-z 0-9 _ . - and neither begin with a dot nor be a number");
  EXPECT_NE(error_of(with("name = \"packages\"", "name = \"7\"")).find("nor be a number"), std::string::npos);
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\ncolour = 1")).substr(0, 38),
            "config: database 1.colour: unknown key");
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\n[[database]]\nname = \"p\"")),
            "config: database 2.name: 'p' is there twice");
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\nsync = \"sometimes\"")),
            "config: database 1.sync: must be \"always\", \"1s\" or \"never\"");
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\nlog_window_time = \"1 day\"")),
            "config: database 1.log_window_time: '1 day' is not a duration such as 500ms, 5s, 10m, 24h or 7d");
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\nallow_mirrors = \"eu-1\"")),
            "config: database 1.allow_mirrors: must be a list of texts, such as [\"eu-1\"]");
  EXPECT_EQ(error_of(with("name = \"packages\"", "name = \"p\"\nlog_window_bytes=\"2GiB\"\nlog_budget_bytes=\"1GiB\"")),
            "config: database 1.log_budget_bytes: must be at least log_window_bytes");
  EXPECT_EQ(error_of("cluster_id = ").substr(0, 16), "config: line 1: ");
}

TEST(NodeConfig, what_a_list_names_twice_is_a_slip) {
  const auto of_database = [](const std::string& line) {
    return error_of(with("name = \"packages\"", "name = \"p\"\n" + line));
  };
  EXPECT_EQ(of_database(R"(sync_mirrors = ["eu-1", "us-1", "EU-1"])"),
            "config: database 1.sync_mirrors: 'EU-1' is there twice");
  EXPECT_EQ(of_database(R"(allow_mirrors = ["eu-1", "eu-1"])"),
            "config: database 1.allow_mirrors: 'eu-1' is there twice");
  EXPECT_EQ(of_database(R"(snapshot_formats = ["kv", "kv"])"),
            "config: database 1.snapshot_formats: 'kv' is there twice");
  EXPECT_EQ(of_database("engine = \"etcd\"\nendpoints = [\"http://a:1\", \"http://b:1\", \"http://A:1\"]"),
            "config: database 1.endpoints: 'http://A:1' is there twice");
  EXPECT_EQ(of_database("engine = \"etcd\"\nendpoints = [\"http://a:1\"]\nexcludes = [\"/a\", \"/A\"]"), "")
      << "keys are told apart by case";
  EXPECT_EQ(of_database("engine = \"etcd\"\nendpoints = [\"http://a:1\"]\nexcludes = [\"/a\", \"/a\"]"),
            "config: database 1.excludes: '/a' is there twice");
  EXPECT_NE(error_of(with("ca = ", "denied_serials = [\"0A\", \"0:A\"]\nca = ")).find("'0:A' is there twice"),
            std::string::npos);
}

/// The example with each key that it only mentions, as lines; the path of the key in each ("" where there is none).
struct ExampleLine {
  std::string text;
  std::string path;
};
std::vector<ExampleLine> example_lines() {
  std::vector<ExampleLine> lines;
  std::istringstream stream{std::string(example_config())};
  const std::regex key("(# )?([a-z_]+) = .*"), table(R"(\[\[?([a-z_]+)\]?\])");
  std::string folder;
  for (std::string line; std::getline(stream, line);) {
    std::smatch found;
    if (std::regex_match(line, found, table)) folder = found[1] == "database" ? "database 1." : found[1].str() + ".";
    if (!std::regex_match(line, found, key)) {
      lines.push_back({line, ""});
      continue;
    }
    const auto name = found[2].str();
    if (name == "password_file") continue;  // its file is looked at: a test of its own
    const auto text = found[1].matched ? line.substr(2) : line;
    // Sync mode goes with one of the values only.
    lines.push_back({name == "sync" ? "sync = \"always\"" : text, folder + name});
  }
  return lines;
}
std::string joined(const std::vector<ExampleLine>& lines, std::size_t changed, const std::string& instead) {
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i)
    text += (i == changed ? instead : lines[i].text) + "\n";
  return text;
}

TEST(NodeConfig, a_value_of_the_wrong_type_is_an_error_that_names_its_key_whichever_it_is) {
  const auto lines = example_lines();
  EXPECT_EQ(error_of(joined(lines, lines.size(), "")), "");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto& path = lines[i].path;
    if (path.empty()) continue;
    const auto key = lines[i].text.substr(0, lines[i].text.find(' '));
    for (const std::string wrong : {"{}", "[[]]", "-1", "1.5", "true", "\"\""}) {
      const auto said = error_of(joined(lines, i, key + " = " + wrong));
      EXPECT_EQ(said.substr(0, 10 + path.size()), "config: " + path + ": ") << wrong;
    }
  }
}

/// The error lists what is known there: nothing that the example does not show.
TEST(NodeConfig, an_unknown_key_is_an_error_that_names_it_in_every_table_and_the_example_shows_every_known_one) {
  const auto lines = example_lines();
  std::map<std::string, std::set<std::string>> shown, known;
  shown[""] = {"clients", "database", "database_defaults", "listen", "memory", "mirror", "source", "tls"};
  shown["clients."] = {"password_file"};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto& path = lines[i].path;
    if (path.empty()) continue;
    const auto table = path.substr(0, path.rfind('.') + 1);
    shown[table].insert(path.substr(table.size()));
    const auto said = error_of(joined(lines, i, lines[i].text + "\ncolour = 1"));
    const auto expected = "config: " + table + "colour: unknown key; known here: ";
    ASSERT_EQ(said.substr(0, expected.size()), expected);
    std::istringstream names(said.substr(expected.size()));
    for (std::string name; std::getline(names >> std::ws, name, ',');)
      known[table].insert(name);
  }
  shown["database_defaults."] = shown["database 1."];
  shown["database_defaults."].erase("name");
  shown["database_defaults."].erase("engine");
  EXPECT_EQ(known, shown);
}

TEST(NodeConfig, a_key_that_must_be_there_is_missed_by_name) {
  for (const std::string key : {"cluster_id", "data_dir", "mirrors", "clients", "admin", "ca", "cert", "key", "name"}) {
    std::string text(least);
    const auto at = text.find("\n" + key + " = ") + 1;
    text.erase(at, text.find('\n', at) + 1 - at);
    EXPECT_NE(error_of(text).find(key + ": is missing"), std::string::npos) << error_of(text);
  }
}

TEST(NodeConfig, two_ports_at_one_address_passed_the_check_and_not_the_start) {
  const auto clients = std::string("clients = \"127.0.0.1:6380\"");
  ASSERT_NE(std::string(least).find(clients), std::string::npos);
  EXPECT_EQ(error_of(with(clients, "clients = \"127.0.0.1:7401\"")),
            "config: listen.admin: is the address of listen.clients, too");
}

TEST(NodeConfig, values_that_cannot_be_meant_are_named) {
  const auto database = [](const std::string& lines) {
    return error_of(with("name = \"packages\"", "name = \"p\"\n" + lines));
  };
  EXPECT_EQ(error_of(std::string(least) + "[clients]\nconnections_max = 0"),
            "config: clients.connections_max: must be a number from 1 to 100000");
  EXPECT_EQ(error_of(std::string(least) + "[mirror]\ndisconnected_after = \"30\""),
            "config: mirror.disconnected_after: '30' is not a duration such as 500ms, 5s, 10m, 24h or 7d");
  EXPECT_EQ(error_of(std::string(least) + "[database_defaults]\nname = \"p\"").substr(0, 43),
            "config: database_defaults.name: unknown key");
  EXPECT_EQ(database("cache_bytes = \"64MB\"").substr(0, 38), "config: database 1.cache_bytes: '64MB'");
  EXPECT_EQ(database("compression = \"gzip\""),
            "config: database 1.compression: must be \"none\", \"lz4\" or \"zstd\"");
  EXPECT_EQ(database("sync_mirrors = [\"eu 1\"]"),
            "config: database 1.sync_mirrors: 'eu 1' is not the name of a certificate");
  EXPECT_EQ(database("allow_mirrors = [\"*\"]"), "");
  EXPECT_EQ(database("allow_mirrors = [\"*.eu\"]"),
            "config: database 1.allow_mirrors: '*.eu' is not the name of a certificate");
  EXPECT_EQ(database("on_sync_loss = \"wait\""), "config: database 1.on_sync_loss: must be \"error\" or \"async\"");
  EXPECT_EQ(database("sync_mirrors = [\"eu-1\"]\nsync = \"never\"").substr(0, 40),
            "config: database 1.sync: must be \"always");
  EXPECT_EQ(error_of(with("admin = \"127.0.0.1:7401\"", "admin = \"0.0.0.0:7401\"")),
            "config: listen.admin: must be one IP address and a port");
  EXPECT_EQ(error_of(with("127.0.0.1:6380", "127.0.0.1:70000")).substr(0, 24), "config: listen.clients: ");
  EXPECT_EQ(error_of(with("[[database]]", "[database]")), "config: database: must be tables: [[database]]");
  EXPECT_EQ(error_of(with("[tls]", "[[tls]]")), "config: tls: must be a table: [tls]");
  EXPECT_EQ(error_of(with("data_dir = \"data\"", "data_dir = \"data\"\ndata_dir = \"data\"")).substr(0, 16),
            "config: line 4: ");
}

TEST(NodeConfig, denied_serials_are_read_as_people_write_them) {
  const auto config = parse_config(with("[tls]", "[tls]\ndenied_serials = [\"6f:0b:4c\", \"serial=0A\"]"), "/");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->denied_serials, (std::set<std::string>{"6F0B4C", "A"}));
  EXPECT_EQ(error_of(with("[tls]", "[tls]\ndenied_serials = [\"eu-1\"]")).substr(0, 54),
            "config: tls.denied_serials: 'eu-1' is no serial number");
}

TEST(NodeConfig, clients_in_the_open_need_a_password_that_others_cannot_read) {
  const test::TemporaryFolder folder;
  const auto text = with("127.0.0.1:6380", "0.0.0.0:6380");
  EXPECT_EQ(error_of(text),
            "config: listen.clients: anything but loopback needs a password: set clients.password_file");
  EXPECT_EQ(error_of(with("127.0.0.1:6380", "localhost:6380")),
            "config: listen.clients: must be an IP address and a port");
  const auto file = folder.path() / "password";
  std::ofstream(file) << "secret\n";
  const auto with_password = text + "[clients]\npassword_file = \"" + file.string() + "\"\n";
  std::filesystem::permissions(file, std::filesystem::perms(0644));
  EXPECT_NE(error_of(with_password).find("others may read"), std::string::npos);
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  const auto config = parse_config(with_password, "/");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->client_password, "secret");
}

TEST(Quantity, durations_and_sizes_have_units_and_bounds) {
  EXPECT_EQ(*parse_duration("500ms"), std::chrono::milliseconds(500));
  EXPECT_EQ(*parse_duration("7d"), std::chrono::hours(7 * 24));
  EXPECT_EQ(*parse_size("64MiB"), 64ull << 20);
  EXPECT_EQ(*parse_size("12"), 12u);
  for (const auto text : {"", "5", "-5s", "5 s", "5S", "99999999999999999999s", "4000d", "s"})
    EXPECT_FALSE(parse_duration(text)) << text;
  for (const auto text : {"", "MiB", "1MB", "1.5GiB", "-1", "99999999TiB"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Config, a_reload_did_not_name_what_takes_a_restart) {
  const auto running = parse_config(least, "/etc/crosslink");
  ASSERT_TRUE(running.ok());
  const auto is_known = [](std::string_view name) { return name != "fresh"; };
  const auto changed = [&](const std::string& more, const std::string& in_table) {
    const auto fresh = parse_config(std::string(least) + in_table + more, "/etc/crosslink");
    return fresh ? needs_restart(*running, *fresh, is_known) : std::vector<std::string>{fresh.error().message()};
  };
  using Keys = std::vector<std::string>;
  EXPECT_EQ(changed("", ""), Keys());
  EXPECT_EQ(changed("", "allow_mirrors = [\"eu-1\"]\n"), Keys()) << "lists hold at once";
  EXPECT_EQ(changed("", "cache_bytes = \"8MiB\"\n"), Keys{"database 'packages'.cache_bytes"});
  EXPECT_EQ(changed("[clients]\nconnections_max = 5\n", ""), Keys{"clients.connections_max"});
  EXPECT_EQ(changed("[memory]\ncache_bytes = \"1GiB\"\n", ""), Keys{"memory.cache_bytes"});
  EXPECT_EQ(changed("[database_defaults]\nsync_timeout = \"9s\"\n", ""),
            (Keys{"database_defaults.sync_timeout", "database 'packages'.sync_timeout"}));
  EXPECT_EQ(changed("", "[[database]]\nname = \"fresh\"\n"), Keys{"database 'fresh', which is new"});
  EXPECT_EQ(changed("", "[[database]]\nname = \"made-by-command\"\n"), Keys()) << "it is there";
  EXPECT_EQ(changed("", "[[database]]\nname = \"made-by-command\"\nsync = \"always\"\n"),
            Keys{"database 'made-by-command'.sync"});
  auto with_table = *running;
  with_table.databases.front().min_free_bytes = 7;
  auto without = with_table;
  without.databases.clear();
  EXPECT_EQ(needs_restart(with_table, without, is_known), Keys{"database 'packages'.min_free_bytes"});
}

}  // namespace
}  // namespace crosslink::node
