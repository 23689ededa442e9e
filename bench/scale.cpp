// `crosslink-bench scale`: what many databases cost a node, and many mirrors between two. Each database has ten small
// keys and one mirror; both nodes are on this machine.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "bench/nodes.hpp"
#include "bench/options.hpp"
#include "cli/json_fields.hpp"
#include "cli/report.hpp"

namespace crosslink::bench {
namespace {

using boost::json::object;
using Clock = std::chrono::steady_clock;

constexpr const char* source_id = "bench-source";
constexpr const char* mirror_id = "bench-mirror";
constexpr int keys_of_each = 10;
constexpr std::chrono::seconds phase_timeout{900};
constexpr std::chrono::milliseconds look_again_after{50};

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::string name_of(std::uint64_t index) { return fmt::format("db-{}", index); }

std::string tables_of(std::uint64_t databases) {
  auto text = fmt::format("[source]\nmirrors_max = {}\n", databases + 16);
  for (std::uint64_t i = 0; i < databases; ++i)
    text += fmt::format("[[database]]\nname = \"{}\"\nallow_mirrors = [\"{}\"]\n", name_of(i), mirror_id);
  return text;
}

/// 0 for what is gone meanwhile.
std::uint64_t blocks_of(const std::filesystem::path& file) {
  constexpr std::uint64_t block_bytes = 512;  // whatever the disk's own are (stat(2))
  struct stat found = {};
  if (::lstat(file.c_str(), &found) != 0) return 0;
  return static_cast<std::uint64_t>(found.st_blocks) * block_bytes;
}

/// Bytes that the files below `folder` take on the disk, holes and what is preallocated as the disk counts them.
std::uint64_t disk_bytes(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator one(folder, error), end; !error && one != end;
       one.increment(error))
    bytes += blocks_of(one->path());
  return bytes;
}

struct Figures {
  double ports_s = 0, first_database_s = 0, all_databases_s = 0;
  std::uint64_t threads = 0, descriptors = 0, source_bytes = 0, mirror_bytes = 0, disk_bytes_each = 0;
  double mirrors_made_s = 0, all_following_s = 0, source_idle_cores = 0, mirror_idle_cores = 0;
  double after_mirror_kill_s = 0, after_source_kill_s = 0;
  std::uint64_t mirror_threads = 0, mirror_descriptors = 0, following = 0, copied_anew = 0;
  object json(std::uint64_t databases) const {
    return {{"databases", databases},
            {"ports_open_seconds", ports_s},
            {"first_database_seconds", first_database_s},
            {"all_databases_seconds", all_databases_s},
            {"source_threads", threads},
            {"mirror_threads", mirror_threads},
            {"source_descriptors", descriptors},
            {"mirror_descriptors", mirror_descriptors},
            {"source_bytes", source_bytes},
            {"mirror_bytes", mirror_bytes},
            {"disk_bytes_per_database", disk_bytes_each},
            {"mirrors_made_seconds", mirrors_made_s},
            {"all_following_seconds", all_following_s},
            {"following", following},
            {"source_idle_cores", source_idle_cores},
            {"mirror_idle_cores", mirror_idle_cores},
            {"following_after_mirror_kill_seconds", after_mirror_kill_s},
            {"following_after_source_kill_seconds", after_source_kill_s},
            {"copied_anew_after_kills", copied_anew}};
  }
};

/// A client's connection that says what it has to at once and counts the answers.
class Client {
 public:
  static Result<Client> connect(const BenchNode& node) {
    Client client;
    boost::system::error_code error;
    boost::asio::ip::tcp::resolver resolver(*client.context_);
    const auto found = resolver.resolve("127.0.0.1", node.clients_port, error);
    if (!error) boost::asio::connect(client.socket_, found, error);
    if (error) return MirrorError::configuration("a client cannot connect: " + error.message());
    return client;
  }
  /// Errors: Configuration, with the node's words, when one answer is not OK.
  Result<void> say(const std::string& commands, std::size_t answers) {
    constexpr std::string_view good = "+OK\r\n";
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(commands), error);
    std::string said(answers * good.size(), '\0');
    if (!error) said.resize(boost::asio::read(socket_, boost::asio::buffer(said), error));
    std::string expected;
    for (std::size_t i = 0; i < answers; ++i)
      expected += good;
    if (said == expected) return {};
    return MirrorError::configuration(
        fmt::format("a client was answered '{}'", error ? error.message() : printable(said, 200)));
  }

 private:
  std::unique_ptr<boost::asio::io_context> context_ = std::make_unique<boost::asio::io_context>(1);
  boost::asio::ip::tcp::socket socket_{*context_};
};

Result<void> write_keys(const BenchNode& node, std::uint64_t databases) {
  auto client = Client::connect(node);
  if (!client) return client.error();
  for (std::uint64_t i = 0; i < databases; ++i) {
    auto commands = fmt::format("SELECT {}\r\n", i);
    for (int key = 0; key < keys_of_each; ++key)
      commands += fmt::format("SET key-{} a-small-value-{}\r\n", key, i);
    if (auto written = client->say(commands, 1 + keys_of_each); !written) return written;
  }
  return {};
}

/// Looks until `holds` does, and says after how many seconds since `begin`. Errors: Timeout; those of `holds`.
template <class Look>
Result<double> seconds_until(Clock::time_point begin, const char* what, const Look& holds) {
  for (;;) {
    const auto now = holds();
    if (!now) return now.error();
    const auto took = seconds_since(begin);
    if (*now) return took;
    if (Clock::now() - begin > phase_timeout)
      return MirrorError::timeout(fmt::format("{} takes over {} s", what, phase_timeout.count()));
    std::this_thread::sleep_for(look_again_after);  // of a benchmark's own look, which costs the node a whole list
  }
}

Result<object> list_of(const BenchNode& node, const char* path) {
  return ask_for(node.admin, {cli::AdminMethod::get, path, {}, cli::admin_answer_timeout});
}

struct MirrorsSeen {
  std::uint64_t following = 0, bootstraps = 0;
  std::string one_reason;  ///< of one that does not follow
};

Result<MirrorsSeen> look_at_mirrors(const BenchNode& mirror) {
  auto list = list_of(mirror, "/v1/mirrors");
  if (!list) return list.error();
  MirrorsSeen seen;
  for (const auto& one : cli::array_field(*list, "mirrors")) {
    const auto* fields = one.if_object();
    if (fields == nullptr) continue;
    seen.bootstraps += cli::number(*fields, "bootstraps").value_or(0);
    if (cli::text(*fields, "status") == "Following") {
      ++seen.following;
    } else {
      seen.one_reason = fmt::format("{}: {}: {}", cli::text(*fields, "name"), cli::text(*fields, "status"),
                                    cli::text(*fields, "reason"));
    }
  }
  return seen;
}

Result<double> seconds_until_following(Clock::time_point begin, const BenchNode& mirror, Figures& figures,
                                       std::uint64_t databases) {
  std::string reason;
  auto took = seconds_until(begin, "the mirrors' way to Following", [&]() -> Result<bool> {
    auto seen = look_at_mirrors(mirror);
    if (!seen) return seen.error();
    figures.following = seen->following;
    reason = seen->one_reason;
    return seen->following == databases;
  });
  if (took) return took;
  return MirrorError(took.error().kind(), took.error().caused_by(),
                     fmt::format("{} ({} of {}; {})", took.error().message(), figures.following, databases, reason));
}

class Scale {
 public:
  Scale(std::filesystem::path folder, const BenchOptions& options) : folder_(std::move(folder)), options_(options) {}

  Result<Figures> measure() {
    for (const auto step : {&Scale::start_source, &Scale::make_mirrors, &Scale::look_when_idle, &Scale::kill_mirror,
                            &Scale::kill_source}) {
      if (auto done = (this->*step)(); !done) return done.error();
    }
    return figures_;
  }

 private:
  Result<void> start(std::optional<BenchNode>& node, const char* id, const std::string& tables) {
    const auto listen = node ? node->mirrors_address : std::string("127.0.0.1:0");
    node.reset();
    auto started = BenchNode::start(folder_, id, tables, listen);
    if (!started) return started.error();
    node.emplace(std::move(*started));
    return {};
  }

  /// Started twice: the first makes the databases, the second opens what has data, and is measured.
  Result<void> start_source() {
    const auto tables = tables_of(options_.databases);
    if (auto made = start(source_, source_id, tables); !made) return made;
    if (auto open = all_open(Clock::now()); !open) return open.error();
    if (auto written = write_keys(*source_, options_.databases); !written) return written;
    const auto begin = Clock::now();
    if (auto again = start(source_, source_id, tables); !again) return again;
    figures_.ports_s = seconds_since(begin);
    auto first = seconds_until(begin, "the first database", [this]() -> Result<bool> {
      auto client = Client::connect(*source_);
      return client && client->say("SET key-0 again\r\n", 1).ok();
    });
    if (!first) return first.error();
    figures_.first_database_s = *first;
    auto all = all_open(begin);
    if (!all) return all.error();
    figures_.all_databases_s = *all;
    figures_.disk_bytes_each =
        disk_bytes(folder_ / (std::string(source_id) + ".data") / "databases") / options_.databases;
    return {};
  }

  Result<double> all_open(Clock::time_point begin) {
    return seconds_until(begin, "opening the databases", [this]() -> Result<bool> {
      auto list = list_of(*source_, "/v1/databases");
      if (!list) return list.error();
      const auto& databases = cli::array_field(*list, "databases");
      const auto open = std::ranges::count_if(databases, [](const boost::json::value& one) {
        return one.is_object() && cli::number(one.get_object(), "head_lsn").has_value();
      });
      return static_cast<std::uint64_t>(open) == options_.databases;
    });
  }

  Result<void> make_mirrors() {
    if (auto started = start(mirror_, mirror_id, {}); !started) return started;
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < options_.databases; ++i) {
      object body{{"name", name_of(i)},
                  {"from", fmt::format("{}/{}", source_id, name_of(i))},
                  {"addr", source_->mirrors_address}};
      auto made =
          ask_for(mirror_->admin, {cli::AdminMethod::post, "/v1/mirrors", std::move(body), cli::admin_work_timeout});
      if (!made) return made.error();
    }
    figures_.mirrors_made_s = seconds_since(begin);
    auto all = seconds_until_following(begin, *mirror_, figures_, options_.databases);
    if (!all) return all.error();
    figures_.all_following_s = *all;
    return {};
  }

  Result<void> look_when_idle() {
    const auto source_from = source_->process.cpu_us(), mirror_from = mirror_->process.cpu_us();
    const auto begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::seconds(options_.idle_seconds));
    const auto took_us = seconds_since(begin) * 1e6;
    figures_.source_idle_cores = static_cast<double>(source_->process.cpu_us() - source_from) / took_us;
    figures_.mirror_idle_cores = static_cast<double>(mirror_->process.cpu_us() - mirror_from) / took_us;
    figures_.source_bytes = source_->process.resident_bytes();
    figures_.mirror_bytes = mirror_->process.resident_bytes();
    figures_.threads = source_->process.threads();
    figures_.mirror_threads = mirror_->process.threads();
    figures_.descriptors = source_->process.descriptors();
    figures_.mirror_descriptors = mirror_->process.descriptors();
    return {};
  }

  Result<void> kill_mirror() {
    mirror_->process.kill();
    const auto begin = Clock::now();
    if (auto again = start(mirror_, mirror_id, {}); !again) return again;
    auto all = seconds_until_following(begin, *mirror_, figures_, options_.databases);
    if (!all) return all.error();
    figures_.after_mirror_kill_s = *all;
    return {};
  }

  /// Mirrors say Following until they miss the source, so the writes of after its restart are waited for.
  Result<void> kill_source() {
    source_->process.kill();
    const auto begin = Clock::now();
    if (auto again = start(source_, source_id, tables_of(options_.databases)); !again) return again;
    if (auto open = all_open(begin); !open) return open.error();
    if (auto written = write_keys(*source_, options_.databases); !written) return written;
    auto heads = heads_of(*source_);
    if (!heads) return heads.error();
    auto all = seconds_until(begin, "the mirrors' way back", [&]() -> Result<bool> { return have_all(*heads); });
    if (!all) return all.error();
    figures_.after_source_kill_s = *all;
    const auto seen = look_at_mirrors(*mirror_);
    if (!seen) return seen.error();
    figures_.following = seen->following;
    figures_.copied_anew = seen->bootstraps;
    return {};
  }

  using Heads = std::vector<std::pair<std::string, std::uint64_t>>;

  static Result<Heads> heads_of(const BenchNode& node) {
    auto list = list_of(node, "/v1/databases");
    if (!list) return list.error();
    Heads heads;
    for (const auto& one : cli::array_field(*list, "databases")) {
      if (const auto* fields = one.if_object())
        heads.emplace_back(cli::text(*fields, "name"), cli::number(*fields, "head_lsn").value_or(0));
    }
    std::ranges::sort(heads);
    return heads;
  }

  Result<bool> have_all(const Heads& heads) {
    auto list = list_of(*mirror_, "/v1/mirrors");
    if (!list) return list.error();
    std::size_t have = 0;
    for (const auto& one : cli::array_field(*list, "mirrors")) {
      const auto* fields = one.if_object();
      if (fields == nullptr) continue;
      const auto at = std::ranges::lower_bound(heads, cli::text(*fields, "name"), {}, &Heads::value_type::first);
      if (at == heads.end() || at->first != cli::text(*fields, "name")) continue;
      if (cli::number(*fields, "applied_lsn").value_or(0) >= at->second && cli::text(*fields, "status") == "Following")
        ++have;
    }
    return have == heads.size();
  }

  std::filesystem::path folder_;
  const BenchOptions& options_;
  std::optional<BenchNode> source_, mirror_;
  Figures figures_;
};

std::string said_of(const Figures& figures, std::uint64_t databases) {
  constexpr double mega = 1e6;
  return fmt::format(
      "{} databases: ports open after {:.2f} s, the first serves after {:.2f} s, all after {:.2f} s; disk of each "
      "{:.2f} "
      "MB\n"
      "source: {} threads, {} descriptors, {:.0f} MB; mirror: {} threads, {} descriptors, {:.0f} MB\n"
      "mirrors: made in {:.1f} s, {} Following after {:.1f} s; idle {:.3f} cores at the source, {:.3f} at the mirror\n"
      "after kill -9: of the mirror's node all Following in {:.1f} s, of the source's all have new writes in {:.1f} s; "
      "{} copied anew",
      databases, figures.ports_s, figures.first_database_s, figures.all_databases_s,
      static_cast<double>(figures.disk_bytes_each) / mega, figures.threads, figures.descriptors,
      static_cast<double>(figures.source_bytes) / mega, figures.mirror_threads, figures.mirror_descriptors,
      static_cast<double>(figures.mirror_bytes) / mega, figures.mirrors_made_s, figures.following,
      figures.all_following_s, figures.source_idle_cores, figures.mirror_idle_cores, figures.after_mirror_kill_s,
      figures.after_source_kill_s, figures.copied_anew);
}

}  // namespace

int run_bench_scale(const cli::Globals& globals, const BenchOptions& options) {
  return run_beside_signals(globals, options, {source_id, mirror_id}, [&](const std::filesystem::path& folder) {
    const auto figures = Scale(folder, options).measure();
    return figures ? cli::report_good(globals, figures->json(options.databases), said_of(*figures, options.databases))
                   : cli::report_error(globals, figures.error());
  });
}

}  // namespace crosslink::bench
