// What the admin port tells of mirrors and databases, as JSON. Field names are stable; what is unknown is null.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <vector>

#include "node/certificate_watch.hpp"
#include "node/hosting/hosted_database.hpp"

namespace crosslink::node {

/// Precondition: database.mirror().
boost::json::object report_mirror(HostedDatabase& database);
boost::json::object report_database(HostedDatabase& database);
boost::json::object report_verify(const std::string& name, const VerifyResult& result);
boost::json::array report_certificates(const std::vector<CertificateFacts>& files);
/// error, caused_by, message, exit_code.
boost::json::object report_error(const MirrorError& error, std::optional<int> exit_code = {});

template <class T>
boost::json::value or_null(const std::optional<T>& value) {
  return value ? boost::json::value(*value) : boost::json::value();
}

}  // namespace crosslink::node
