// What the admin port can be asked: from a request, already let in, to what is answered. docs/admin.md.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "node/admin/mirror_plan.hpp"
#include "node/certificate_watch.hpp"
#include "node/client_facts.hpp"
#include "node/hosting/command_turns.hpp"

namespace crosslink::node {

class Hosting;
struct DeleteOptions;

struct AdminRequest {
  std::string method, path;  ///< the path without what follows a '?'
  std::string query;
  boost::json::object body;
  bool has_body = false;
  CommandCaller caller;
};
struct AdminResponse {
  unsigned status = 200;
  std::string body;
  std::string content_type = "application/json";
};

/// Of the config: when it was last taken over, and why it was not since, if that was tried.
struct ReloadFacts {
  std::chrono::system_clock::time_point loaded_at = std::chrono::system_clock::now();
  std::optional<std::string> trouble;
};

/// What a node says of itself.
struct AdminFacts {
  std::string cluster_id, version, mirrors, clients, admin;
  std::function<ClientFacts()> clients_now;
  std::function<std::vector<CertificateFacts>()> certificates;
  std::function<ReloadFacts()> reload;
  std::function<std::uint64_t()> tls_refused;  ///< handshakes of mirrors that TLS refused, since the start
};

class AdminRoutes {
 public:
  AdminRoutes(Hosting& hosting, AdminFacts facts);
  /// Answers everything, errors too. `request` must outlive it.
  awaitable<AdminResponse> answer(const AdminRequest& request);
  /// Of requests without a token: /healthz and /readyz. Absent: no such path.
  std::optional<AdminResponse> answer_unauthenticated(const AdminRequest& request) const;

 private:
  awaitable<AdminResponse> answer_mirrors(const AdminRequest& request, std::string_view rest);
  awaitable<AdminResponse> answer_mirror(const AdminRequest& request, std::string name, std::string_view verb);
  awaitable<AdminResponse> answer_databases(const AdminRequest& request, std::string_view rest);
  awaitable<AdminResponse> create_mirror(const AdminRequest& request);
  awaitable<AdminResponse> dry_run(const MirrorRequest& wanted, const Result<replication::SourceFacts>& asked,
                                   boost::json::value replaced);
  awaitable<AdminResponse> make_mirror(const AdminRequest& request, const MirrorRequest& wanted,
                                       boost::json::object more);
  awaitable<AdminResponse> delete_mirror(const AdminRequest& request, std::string name, DeleteOptions options);
  Task<void> agree_to_deletions(std::string name, bool agreed);
  awaitable<AdminResponse> promote(const AdminRequest& request, std::string name);
  awaitable<AdminResponse> verify(std::string name);
  AdminResponse mirror_now(const std::string& name, boost::json::object more = {}) const;
  AdminResponse node_now() const;
  AdminResponse no_mirror(const std::string& name) const;
  AdminResponse not_here(std::string_view what, const std::string& name) const;
  boost::json::object with_not_open(boost::json::object listed) const;
  boost::json::array source_details() const;
  boost::json::array certificate_warnings() const;

  Hosting* const hosting_;
  const AdminFacts facts_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace crosslink::node
