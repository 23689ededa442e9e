// What Prometheus reads.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "node/admin/admin_routes.hpp"
#include "node/certificate_watch.hpp"
#include "node/client_facts.hpp"
#include "node/hosting/database_list.hpp"

namespace crosslink::node {

/// The text format, version 0.0.4: names begin with crosslink_, base units. docs/admin.md lists them.
std::string metrics_text(const DatabaseList& databases, const ClientFacts& clients,
                         std::span<const CertificateFacts> certificates, const ReloadFacts& reload,
                         std::uint64_t tls_refused);

}  // namespace crosslink::node
