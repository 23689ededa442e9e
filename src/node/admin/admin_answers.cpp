#include "node/admin/admin_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "node/admin/reports.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr unsigned not_found = 404, bad_method = 405, conflict = 409, bad_request = 400;

unsigned status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Configuration: return bad_request;
    case ErrorKind::Busy:
    case ErrorKind::Transport:
    case ErrorKind::Timeout:
    case ErrorKind::NotConnected:
    case ErrorKind::Cancelled: return 503;
    case ErrorKind::Storage:
    case ErrorKind::OutcomeUnknown: return 500;
    case ErrorKind::ClusterIdMismatch:
    case ErrorKind::ObserverRoleViolation:
    case ErrorKind::ProtocolVersionMismatch:
    case ErrorKind::UnknownDatabase:
    case ErrorKind::NotAuthorized:
    case ErrorKind::TlsRefused:
    case ErrorKind::HandshakeCodec:
    case ErrorKind::ProtocolViolation:
    case ErrorKind::AlreadyConnected:
    case ErrorKind::MirrorPromoted:
    case ErrorKind::SnapshotOffsetRegression:
    case ErrorKind::SnapshotCrcMismatch:
    case ErrorKind::BytesInFlightCapExceeded:
    case ErrorKind::LogWindowExceeded:
    case ErrorKind::SourceBehind:
    case ErrorKind::HistoriesParted:
    case ErrorKind::OriginChanged:
    case ErrorKind::UnsupportedOperation: return conflict;
  }
  return 500;
}

}  // namespace

std::pair<std::string_view, std::string_view> split_path(std::string_view path) {
  const auto slash = std::min(path.find('/'), path.size());
  return {path.substr(0, slash), path.substr(std::min(slash + 1, path.size()))};
}

AdminResponse object_answer(const json::object& body, unsigned status) {
  return {status, json::serialize(body) + "\n"};
}

AdminResponse failed(const MirrorError& error, std::optional<int> exit, json::object more) {
  auto body = report_error(error, exit);
  for (auto& [key, value] : more)
    body[key] = std::move(value);
  return object_answer(body, status_of(error.kind()));
}

AdminResponse no_such(std::string_view what) {
  return object_answer(report_error(MirrorError::configuration(fmt::format("there is no {} here", what))), not_found);
}

AdminResponse wrong_method(std::string_view allowed) {
  return object_answer(report_error(MirrorError::configuration(fmt::format("this path takes {}", allowed)), exit_usage),
                       bad_method);
}

}  // namespace crosslink::node
