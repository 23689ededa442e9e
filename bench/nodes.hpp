// Nodes that a benchmark starts: the program crosslink, which is beside this one.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <string>

#include "bench/child_process.hpp"
#include "cli/admin_client.hpp"
#include "crosslink/result.hpp"

namespace crosslink::bench {

/// {"error", ...} of a node that says no, as an error of the benchmark.
Result<boost::json::object> ask_for(const cli::AdminOptions& admin, cli::AdminRequest request);

struct BenchNode {
  /// `folder` has its certificates; `tables` is what its config says of databases, `mirrors_at` where
  /// mirrors find it. Errors: Configuration.
  static Result<BenchNode> start(const std::filesystem::path& folder, const std::string& cluster_id,
                                 const std::string& tables, const std::string& mirrors_at = "127.0.0.1:0");

  ChildProcess process;
  cli::AdminOptions admin;
  std::string cluster_id, mirrors_address, clients_port;
};

/// A mirror of `database` at `mirror`, which is Following at the return; `more` goes into the command. Errors: what the
/// node says; Timeout.
Result<void> make_mirror(const BenchNode& source, const BenchNode& mirror, const std::string& database,
                         boost::json::object more = {});
Result<std::uint64_t> head_of(const BenchNode& node, const std::string& database);
Result<std::uint64_t> applied_at(const BenchNode& mirror, const std::string& database);
/// Seconds until the mirror has all that is committed now.
Result<double> drain(const BenchNode& source, const BenchNode& mirror, const std::string& database);

}  // namespace crosslink::bench
