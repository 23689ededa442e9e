#include "cli/bench_nodes.hpp"

#include <fmt/format.h>

#include <boost/system/error_code.hpp>
#include <chrono>
#include <fstream>
#include <utility>

#include "cli/bench_options.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_wait.hpp"

namespace crosslink::cli {
namespace {

using boost::json::object;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds following_timeout{600};
constexpr std::chrono::seconds drain_timeout{600};

}  // namespace

Result<object> ask_for(const AdminOptions& admin, AdminRequest request) {
  auto answer = ask_node(admin, request);
  if (!answer) return answer.error();
  if (answer->exit_code) return MirrorError::configuration(text(answer->body, "message", 4096));
  return std::move(answer->body);
}

Result<BenchNode> BenchNode::start(const std::filesystem::path& folder, const std::string& cluster_id,
                                   const std::string& tables) {
  const auto config = (folder / (cluster_id + ".toml")).string();
  {
    std::ofstream file(config);
    file << fmt::format(
        "cluster_id = \"{0}\"\ndata_dir = \"{0}.data\"\n[listen]\nmirrors = \"127.0.0.1:0\"\nclients = "
        "\"127.0.0.1:0\"\n"
        "admin = \"127.0.0.1:0\"\n[tls]\nca = \"ca.pem\"\ncert = \"{0}.pem\"\nkey = \"{0}.key\"\n{1}",
        cluster_id, tables);
    if (!file.flush()) return MirrorError::configuration(fmt::format("cannot write {}", config));
  }
  auto process = ChildProcess::start(own_program, {"serve", "--config", config, "-o", "json", "--log-level", "error"});
  if (!process) return process.error();
  boost::system::error_code error;
  const auto said = boost::json::parse(process->read_line(), error);
  const auto* at = said.if_object();
  if (error || at == nullptr) return MirrorError::configuration("a node did not start; its reason is above");
  const auto clients = text(*at, "clients");
  AdminOptions admin;
  admin.admin = text(*at, "admin");
  admin.token_file = (folder / (cluster_id + ".data") / "admin.token").string();
  return BenchNode{std::move(*process), admin, cluster_id, text(*at, "mirrors"),
                   clients.substr(clients.rfind(':') + 1)};
}

Result<void> make_mirror(const BenchNode& source, const BenchNode& mirror, const std::string& database, object more) {
  more["name"] = database;
  more["from"] = fmt::format("{}/{}", source.cluster_id, database);
  more["addr"] = source.mirrors_address;
  auto made = ask_for(mirror.admin, {AdminMethod::post, "/v1/mirrors", std::move(more), admin_work_timeout});
  if (!made) return made.error();
  auto end = wait_until_following({mirror.admin, database, following_timeout, true, false});
  if (end.error) return *end.error;
  return {};
}

Result<std::uint64_t> head_of(const BenchNode& node, const std::string& database) {
  auto answer =
      ask_for(node.admin, {AdminMethod::get, fmt::format("/v1/databases/{}", database), {}, admin_answer_timeout});
  if (!answer) return answer.error();
  if (const auto head = number(*answer, "head_lsn")) return *head;
  return MirrorError::protocol_violation("the source's node does not say how far its database is");
}

Result<std::uint64_t> applied_at(const BenchNode& mirror, const std::string& database) {
  auto answer =
      ask_for(mirror.admin, {AdminMethod::get, fmt::format("/v1/mirrors/{}", database), {}, admin_answer_timeout});
  if (!answer) return answer.error();
  return number(*answer, "applied_lsn").value_or(0);
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

}  // namespace crosslink::cli
