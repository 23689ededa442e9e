#include "bench/nodes.hpp"

#include <fmt/format.h>

#include <boost/system/error_code.hpp>
#include <chrono>
#include <fstream>
#include <system_error>
#include <utility>

#include "bench/options.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_wait.hpp"

namespace crosslink::bench {
namespace {

using boost::json::object;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds following_timeout{600};
constexpr std::chrono::seconds drain_timeout{600};

/// The program crosslink, which is built and installed beside this one. Errors: Configuration, when it is not there.
Result<std::string> product() {
  std::error_code error;
  const auto folder = std::filesystem::read_symlink(own_program, error).parent_path();
  const auto program = folder / "crosslink";
  if (!error && std::filesystem::is_regular_file(program, error)) return program.string();
  return MirrorError::configuration(fmt::format(
      "the program crosslink is not in '{}', beside this one: build or install it there", escape(folder.string())));
}

}  // namespace

Result<object> ask_for(const cli::AdminOptions& admin, cli::AdminRequest request) {
  auto answer = cli::ask_node(admin, request);
  if (!answer) return answer.error();
  if (answer->exit_code) return MirrorError::configuration(cli::text(answer->body, "message", 4096));
  return std::move(answer->body);
}

Result<BenchNode> BenchNode::start(const std::filesystem::path& folder, const std::string& cluster_id,
                                   const std::string& tables, const std::string& mirrors_at) {
  const auto config = (folder / (cluster_id + ".toml")).string();
  {
    std::ofstream file(config);
    file << fmt::format(
        "cluster_id = \"{0}\"\ndata_dir = \"{0}.data\"\n[listen]\nmirrors = \"{2}\"\nclients = "
        "\"127.0.0.1:0\"\n"
        "admin = \"127.0.0.1:0\"\n[tls]\nca = \"ca.pem\"\ncert = \"{0}.pem\"\nkey = \"{0}.key\"\n{1}",
        cluster_id, tables, mirrors_at);
    if (!file.flush()) return MirrorError::configuration(fmt::format("cannot write {}", config));
  }
  const auto program = product();
  if (!program) return program.error();
  auto process = ChildProcess::start(*program, {"serve", "--config", config, "-o", "json", "--log-level", "error"});
  if (!process) return process.error();
  boost::system::error_code error;
  const auto said = boost::json::parse(process->read_line(), error);
  const auto* at = said.if_object();
  if (error || at == nullptr) return MirrorError::configuration("a node did not start; its reason is above");
  const auto clients = cli::text(*at, "clients");
  cli::AdminOptions admin;
  admin.admin = cli::text(*at, "admin");
  admin.token_file = (folder / (cluster_id + ".data") / "admin.token").string();
  return BenchNode{std::move(*process), admin, cluster_id, cli::text(*at, "mirrors"),
                   clients.substr(clients.rfind(':') + 1)};
}

Result<void> make_mirror(const BenchNode& source, const BenchNode& mirror, const std::string& database, object more) {
  more["name"] = database;
  more["from"] = fmt::format("{}/{}", source.cluster_id, database);
  more["addr"] = source.mirrors_address;
  auto made = ask_for(mirror.admin, {cli::AdminMethod::post, "/v1/mirrors", std::move(more), cli::admin_work_timeout});
  if (!made) return made.error();
  auto end = cli::wait_until_following({mirror.admin, database, following_timeout, true, false});
  if (end.error) return *end.error;
  return {};
}

Result<std::uint64_t> head_of(const BenchNode& node, const std::string& database) {
  auto answer = ask_for(
      node.admin, {cli::AdminMethod::get, fmt::format("/v1/databases/{}", database), {}, cli::admin_answer_timeout});
  if (!answer) return answer.error();
  if (const auto head = cli::number(*answer, "head_lsn")) return *head;
  return MirrorError::protocol_violation("the source's node does not say how far its database is");
}

Result<std::uint64_t> applied_at(const BenchNode& mirror, const std::string& database) {
  auto answer = ask_for(
      mirror.admin, {cli::AdminMethod::get, fmt::format("/v1/mirrors/{}", database), {}, cli::admin_answer_timeout});
  if (!answer) return answer.error();
  return cli::number(*answer, "applied_lsn").value_or(0);
}

Result<double> drain(const BenchNode& source, const BenchNode& mirror, const std::string& database) {
  const auto begin = Clock::now();
  const auto head = head_of(source, database);
  if (!head) return head.error();
  for (;;) {
    const auto applied = applied_at(mirror, database);
    if (!applied) return applied.error();
    const auto took = Clock::now() - begin;
    if (*applied >= *head) return std::chrono::duration<double>(took).count();
    if (took > drain_timeout) return MirrorError::timeout("the mirror does not catch up with its source");
  }
}

}  // namespace crosslink::bench
