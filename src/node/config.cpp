#include "node/config.hpp"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <fstream>
#include <set>
#include <span>
#include <sstream>

#include "node/hosting/private_files.hpp"
#include "node/quantity.hpp"
#include "node/text.hpp"
#include "tls/peer_names.hpp"

namespace crosslink::node {
namespace {

constexpr std::uint64_t write_buffers_bytes_min = 16ull * 1024 * 1024;
constexpr std::uintmax_t config_bytes_max = 1024 * 1024;

MirrorError wrong(std::string_view key, std::string_view what) {
  return MirrorError::configuration(fmt::format("config: {}: {}", key, what));
}

/// One table of the file: takes keys out, notes the first error, and at the end knows what was not asked for.
class Table {
 public:
  Table(const toml::table* table, std::string path) : table_(table), path_(std::move(path)) {}

  bool has(std::string_view key) const { return table_ != nullptr && table_->contains(key); }
  std::string name_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }

  std::optional<std::string> text(std::string_view key) {
    const auto* node = take(key);
    if (node == nullptr) return std::nullopt;
    auto value = node->value_exact<std::string>();
    if (!value) fail(key, "must be a text in quotes");
    return value;
  }
  std::string required_text(std::string_view key) {
    if (!has(key)) fail(key, "is missing");
    auto value = text(key);
    if (value && value->empty()) fail(key, "must not be empty");
    return value.value_or("");
  }
  std::optional<std::int64_t> number(std::string_view key, std::int64_t min, std::int64_t max) {
    const auto* node = take(key);
    if (node == nullptr) return std::nullopt;
    const auto value = node->value_exact<std::int64_t>();
    if (!value || *value < min || *value > max) {
      fail(key, fmt::format("must be a number from {} to {}", min, max));
      return std::nullopt;
    }
    return value;
  }
  /// A number, or "off", which is 0.
  std::optional<std::int64_t> number_or_off(std::string_view key, std::int64_t max) {
    const auto* node = take(key);
    if (node == nullptr) return std::nullopt;
    if (node->value_exact<std::string>() == "off") return 0;
    const auto value = node->value_exact<std::int64_t>();
    if (value && *value >= 0 && *value <= max) return value;
    fail(key, fmt::format("must be \"off\" or a number up to {}", max));
    return std::nullopt;
  }
  std::optional<bool> flag(std::string_view key) {
    const auto* node = take(key);
    if (node == nullptr) return std::nullopt;
    const auto value = node->value_exact<bool>();
    if (!value) fail(key, "must be true or false");
    return value;
  }
  /// Texts that differ from one another: one that is there twice is a slip for another.
  std::optional<std::vector<std::string>> texts(std::string_view key, Case letters) {
    const auto* node = take(key);
    if (node == nullptr) return std::nullopt;
    const auto* array = node->as_array();
    std::vector<std::string> values;
    bool good = array != nullptr;
    for (std::size_t i = 0; good && i < array->size(); ++i) {
      const auto value = (*array)[i].value_exact<std::string>();
      good = value.has_value();
      if (good) values.push_back(*value);
    }
    if (const auto twice = twice_in(values, letters); good && twice) {
      fail(key, fmt::format("'{}' is there twice", escape(*twice, 200)));
      return std::nullopt;
    }
    if (good) return values;
    fail(key, "must be a list of texts, such as [\"eu-1\"]");
    return std::nullopt;
  }
  /// Through `parse`, which gives a Result.
  template <class Parse>
  auto parsed(std::string_view key, Parse parse) -> std::optional<std::decay_t<decltype(*parse(std::string_view()))>> {
    const auto value = text(key);
    if (!value) return std::nullopt;
    auto result = parse(*value);
    if (result) return *std::move(result);
    fail(key, result.error().message());
    return std::nullopt;
  }
  Table table(std::string_view key) {
    const auto* node = take(key);
    if (node != nullptr && !node->is_table()) fail(key, fmt::format("must be a table: [{}]", key));
    return {node == nullptr ? nullptr : node->as_table(), name_of(key)};
  }
  const toml::array* tables(std::string_view key) {
    const auto* node = take(key);
    if (node == nullptr) return nullptr;
    const auto* array = node->as_array();
    if (array == nullptr || !array->is_homogeneous(toml::node_type::table))
      fail(key, fmt::format("must be tables: [[{}]]", key));
    return array;
  }
  void fail(std::string_view key, std::string_view what) {
    if (!error_) error_ = wrong(name_of(key), what);
  }
  /// Errors: the first; a key that was not taken.
  Result<void> finish() {
    if (error_) return *error_;
    if (table_ == nullptr) return {};
    for (const auto& [key, node] : *table_) {
      if (!taken_.contains(std::string(key.str())))
        return wrong(name_of(key.str()), fmt::format("unknown key; known here: {}", joined(taken_, ", ")));
    }
    return {};
  }

 private:
  const toml::node* take(std::string_view key) {
    taken_.emplace(key);
    return table_ == nullptr ? nullptr : table_->get(key);
  }
  const toml::table* table_;
  std::string path_;
  std::set<std::string> taken_;
  std::optional<MirrorError> error_;
};

Result<RocksdbSync> parse_sync(std::string_view text) {
  if (text == "always") return RocksdbSync::always;
  if (text == "1s") return RocksdbSync::every_second;
  if (text == "never") return RocksdbSync::never;
  return MirrorError::configuration("must be \"always\", \"1s\" or \"never\"");
}
Result<RocksdbCompression> parse_compression(std::string_view text) {
  if (text == "none") return RocksdbCompression::none;
  if (text == "lz4") return RocksdbCompression::lz4;
  if (text == "zstd") return RocksdbCompression::zstd;
  return MirrorError::configuration("must be \"none\", \"lz4\" or \"zstd\"");
}

void read_snapshot_formats(Table& table, DatabaseConfig& database) {
  constexpr std::string_view files = "files", pairs = "kv";
  const auto formats = table.texts("snapshot_formats", Case::counts);
  if (!formats) return;
  const auto known = [&](const std::string& one) { return one == files || one == pairs; };
  // Every source can send pairs, and some nothing else.
  if (!std::ranges::all_of(*formats, known) || std::ranges::find(*formats, pairs) == formats->end())
    return table.fail("snapshot_formats", "must be [\"kv\"] or [\"files\", \"kv\"]");
  database.snapshot_files = formats->size() > 1;
}

Result<OnSyncLoss> parse_sync_loss(std::string_view text) {
  if (const auto loss = on_sync_loss_named(text)) return *loss;
  return MirrorError::configuration("must be \"error\" or \"async\"");
}

void read_sync_mode(Table& table, DatabaseConfig& database) {
  if (auto mirrors = table.texts("sync_mirrors", Case::is_ignored)) database.sync_mirrors = *std::move(mirrors);
  if (const auto time = table.parsed("sync_timeout", parse_duration)) database.sync_timeout = *time;
  if (const auto loss = table.parsed("on_sync_loss", parse_sync_loss)) database.on_sync_loss = *loss;
  if (database.sync_mirrors.empty()) return;
  for (const auto& name : database.sync_mirrors) {
    if (!is_dns_name(name)) table.fail("sync_mirrors", fmt::format("'{}' is not the name of a certificate", name));
  }
  if (table.has("sync") && database.sync != RocksdbSync::always)
    table.fail("sync", "must be \"always\" with sync_mirrors: a write is confirmed once it is on disk here as well");
  database.sync = RocksdbSync::always;
}

/// Of engine "etcd": where it is, and nothing of what only RocksDB has.
std::optional<EtcdPlace> read_place(Table& table, const std::filesystem::path& folder) {
  const auto path = [&](std::string_view key) {
    const auto file = table.text(key);
    return file && !file->empty() ? (folder / *file).lexically_normal() : std::filesystem::path();
  };
  EtcdPlace place;
  place.cluster.endpoints = table.texts("endpoints", Case::is_ignored).value_or(std::vector<std::string>());
  place.prefix = table.text("prefix").value_or("");
  place.excludes = table.texts("excludes", Case::counts).value_or(std::vector<std::string>());
  place.cluster.ca_file = path("cacert");
  place.cluster.cert_file = path("cert");
  place.cluster.key_file = path("key");
  place.cluster.user = table.text("user").value_or("");
  place.cluster.password_file = path("password_file");
  place.password_in_clear = table.flag("allow_password_in_clear").value_or(false);
  if (const auto good = check_etcd_place(place); !good) table.fail("engine", good.error().message());
  for (const auto* key : {"sync", "compression", "cache_bytes", "log_window_time", "sync_mirrors", "sync_timeout",
                          "on_sync_loss", "snapshot_formats"}) {
    if (table.has(key)) table.fail(key, "is of engine \"rocksdb\": what is written to etcd does not pass through here");
  }
  return place;
}

/// `defaults`: what is not said.
Result<DatabaseConfig> read_database(Table table, const DatabaseConfig& defaults, const std::filesystem::path& folder,
                                     bool named) {
  auto database = defaults;
  if (named) {
    database.name = table.required_text("name");
    if (!is_new_database_name(database.name))
      table.fail("name", "must be 1 to 64 of A-Z a-z 0-9 _ . - and neither begin with a dot nor be a number");
    const auto engine = table.text("engine").value_or("rocksdb");
    if (engine == "etcd") {
      database.etcd = read_place(table, folder);
    } else if (engine != "rocksdb") {
      table.fail("engine", "must be \"rocksdb\" or \"etcd\"");
    }
  }
  // What is said in general does not go before what was said of one by command.
  database.allow_mirrors = table.texts("allow_mirrors", Case::is_ignored);
  for (const auto& name : database.allow_mirrors.value_or(std::vector<std::string>())) {
    if (name != any_mirror && !is_dns_name(name))
      table.fail("allow_mirrors", fmt::format("'{}' is not the name of a certificate", name));
  }
  if (const auto sync = table.parsed("sync", parse_sync)) database.sync = *sync;
  if (const auto chosen = table.parsed("compression", parse_compression)) database.compression = *chosen;
  if (const auto bytes = table.parsed("cache_bytes", parse_size)) database.cache_bytes = bytes;
  if (const auto bytes = table.parsed("min_free_bytes", parse_size)) database.min_free_bytes = *bytes;
  auto& window = database.log_window;
  if (const auto bytes = table.parsed("log_window_bytes", parse_size)) window.bytes = *bytes;
  if (const auto time = table.parsed("log_window_time", parse_duration))
    window.time = std::chrono::duration_cast<std::chrono::seconds>(*time);
  window.budget_bytes = std::max(window.budget_bytes, window.bytes);
  if (const auto bytes = table.parsed("log_budget_bytes", parse_size)) window.budget_bytes = *bytes;
  if (window.budget_bytes < window.bytes) table.fail("log_budget_bytes", "must be at least log_window_bytes");
  if (const auto kept = table.number_or_off("target_revisions_kept", target_revisions_kept_max))
    database.target_revisions_kept = static_cast<std::uint64_t>(*kept);
  read_snapshot_formats(table, database);
  read_sync_mode(table, database);
  if (database.etcd) database.sync_mirrors.clear();
  if (auto good = table.finish(); !good) return good.error();
  return database;
}

Result<std::vector<DatabaseConfig>> read_databases(const toml::array* tables, const DatabaseConfig& defaults,
                                                   const std::filesystem::path& folder) {
  std::vector<DatabaseConfig> databases;
  for (std::size_t i = 0; tables != nullptr && i < tables->size(); ++i) {
    auto database =
        read_database(Table((*tables)[i].as_table(), fmt::format("database {}", i + 1)), defaults, folder, true);
    if (!database) return database.error();
    if (std::ranges::find(databases, database->name, &DatabaseConfig::name) != databases.end())
      return wrong(fmt::format("database {}.name", i + 1), fmt::format("'{}' is there twice", database->name));
    databases.push_back(*std::move(database));
  }
  return databases;
}

void check_admin(const NodeConfig& config, Table& listen) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(config.admin.host, error);
  if (error || address.is_unspecified()) listen.fail("admin", "must be one IP address and a port");
}

/// Two that cannot both be listened at.
void check_apart(const NodeConfig& config, Table& listen) {
  boost::system::error_code error;
  const bool any = boost::asio::ip::make_address(config.clients.host, error).is_unspecified();
  if (config.admin.port != 0 && config.admin.port == config.clients.port &&
      (any || config.admin.host == config.clients.host))
    listen.fail("admin", "is the address of listen.clients, too");
}

/// The client port has no TLS: in the open it wants a password, and a name could come to stand for any address.
void check_clients(const NodeConfig& config, Table& listen) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(config.clients.host, error);
  if (error) listen.fail("clients", "must be an IP address and a port");
  if (!error && !address.is_loopback() && !config.client_password)
    listen.fail("clients", "anything but loopback needs a password: set clients.password_file");
}

}  // namespace

bool is_database_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && std::ranges::all_of(name, allowed);
}

bool is_new_database_name(std::string_view name) {
  return is_database_name(name) && !std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

Result<NodeConfig> parse_config(std::string_view text, const std::filesystem::path& folder) {
  toml::table parsed;
  try {
    parsed = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return MirrorError::configuration(
        fmt::format("config: line {}: {}", error.source().begin.line, printable(error.description())));
  }
  NodeConfig config;
  Table root(&parsed, "");
  const auto path = [&folder](const std::string& file) { return (folder / file).lexically_normal(); };
  config.cluster_id = root.required_text("cluster_id");
  if (!is_dns_name(config.cluster_id)) root.fail("cluster_id", "must be a DNS name such as prod-us");
  config.data_dir = path(root.required_text("data_dir"));

  auto clients = root.table("clients");
  if (const auto file = clients.text("password_file")) {
    auto password = read_password(path(*file));
    if (!password) clients.fail("password_file", password.error().message());
    if (password) config.client_password = *std::move(password);
  }
  if (const auto max = clients.number("connections_max", 1, 100'000))
    config.clients_max = static_cast<std::uint32_t>(*max);
  if (const auto bytes = clients.parsed("buffers_bytes", parse_size)) config.clients_buffers_bytes = *bytes;

  auto listen = root.table("listen");
  const auto address = [&listen](std::string_view key) {
    if (!listen.has(key)) listen.fail(key, "is missing");
    return listen.parsed(key, quic::parse_host_port).value_or(quic::HostPort());
  };
  config.mirrors = address("mirrors");
  config.clients = address("clients");
  config.admin = address("admin");
  check_clients(config, listen);
  check_admin(config, listen);
  check_apart(config, listen);

  auto tls = root.table("tls");
  config.tls.ca = path(tls.required_text("ca"));
  config.tls.cert = path(tls.required_text("cert"));
  config.tls.key = path(tls.required_text("key"));
  for (const auto& one : tls.texts("denied_serials", Case::is_ignored).value_or(std::vector<std::string>())) {
    auto serial = tls::parse_serial(one);
    if (!serial) tls.fail("denied_serials", serial.error().message());
    if (serial && !config.denied_serials.insert(*std::move(serial)).second)
      tls.fail("denied_serials", fmt::format("'{}' is there twice, written otherwise", escape(one, 160)));
  }
  auto source = root.table("source");
  if (const auto max = source.number("mirrors_per_name_max", 1, 65'536))
    config.mirrors_per_name_max = static_cast<std::uint32_t>(*max);
  if (const auto max = source.number("mirrors_max", 1, 65'536)) config.mirrors_max = static_cast<std::uint32_t>(*max);
  if (const auto time = source.parsed("stall_max", parse_duration)) {
    config.stall_max = std::chrono::duration_cast<std::chrono::seconds>(*time);
    if (config.stall_max < std::chrono::seconds(1)) source.fail("stall_max", "must be a second at least");
  }
  auto mirror = root.table("mirror");
  if (const auto time = mirror.parsed("disconnected_after", parse_duration)) config.disconnected_after = *time;
  auto memory = root.table("memory");
  if (const auto bytes = memory.parsed("cache_bytes", parse_size)) config.memory.cache_bytes = *bytes;
  if (const auto bytes = memory.parsed("write_buffers_bytes", parse_size)) {
    config.memory.write_buffers_bytes = *bytes;
    if (*bytes < write_buffers_bytes_min) memory.fail("write_buffers_bytes", "must be 16MiB at least");
  }
  const auto* databases = root.tables("database");
  auto defaults = read_database(root.table("database_defaults"), {}, folder, false);
  for (auto* table : std::array{&root, &clients, &listen, &tls, &source, &mirror, &memory}) {
    if (auto good = table->finish(); !good) return good.error();
  }
  if (!defaults) return defaults.error();
  config.database_defaults = *std::move(defaults);
  auto read = read_databases(databases, config.database_defaults, folder);
  if (!read) return read.error();
  config.databases = *std::move(read);
  return config;
}

Result<NodeConfig> load_config(const std::filesystem::path& file) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error) return MirrorError::configuration(fmt::format("cannot read {}: {}", file.string(), error.message()));
  if (bytes > config_bytes_max)
    return MirrorError::configuration(fmt::format("{} is larger than a config may be (1 MiB)", file.string()));
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) return MirrorError::configuration(fmt::format("cannot read {}", file.string()));
  return parse_config(text.str(), std::filesystem::absolute(file).parent_path());
}

}  // namespace crosslink::node
