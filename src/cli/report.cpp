#include "cli/report.hpp"
#include "wire/exit_codes.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace crosslink::cli {

void print_line(std::string_view text) {
  fmt::print(stdout, "{}\n", text);
  std::fflush(stdout);
}

void print_json(const boost::json::object& object) { print_line(boost::json::serialize(object)); }

void append_error(boost::json::object& object, const std::optional<MirrorError>& error) {
  if (!error) {
    for (const char* field : {"error", "caused_by", "message"})
      object[field] = nullptr;
    return;
  }
  object["error"] = to_string(error->kind());
  object["caused_by"] = to_string(error->caused_by());
  object["message"] = error->message();
}

int report_error(const Globals& globals, const MirrorError& error, boost::json::object fields) {
  if (globals.json()) {
    append_error(fields, error);
    print_json(fields);
    return exit_code(error);
  }
  fmt::print(stderr, "{}: {}\n", globals.program, error.message());
  if (const auto step = next_step(error.kind()); !step.empty()) fmt::print(stderr, "next step: {}\n", step);
  return exit_code(error);
}

int report_good(const Globals& globals, boost::json::object fields, std::string_view text) {
  if (globals.json()) {
    append_error(fields, std::nullopt);
    print_json(fields);
  } else {
    print_line(text);
  }
  return exit_good;
}

void note(const Globals& globals, LogLevel level, std::string_view text) {
  if (level > globals.log_level) return;
  const std::string_view prefix = level == LogLevel::warning ? "warning: " : "";
  fmt::print(stderr, "{}: {}{}\n", globals.program, prefix, text);
}

std::string_view next_step(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::ClusterIdMismatch:
      return "compare --cluster-id with the source's own id, or --addr with where that cluster lives";
    case ErrorKind::ObserverRoleViolation:
      return "the source takes this peer for a voter: use a crosslink of the same protocol on both sides";
    case ErrorKind::ProtocolVersionMismatch: return "bring both sides to the same protocol version";
    case ErrorKind::UnknownDatabase: return "compare --database with the databases the source serves";
    case ErrorKind::NotAuthorized:
      return "have the source allow a name of this certificate, or use another certificate";
    case ErrorKind::Busy: return "try again later, or with --retry";
    case ErrorKind::TlsRefused:
      return "check on both sides that --ca signed the other's certificate, that it names --cluster-id, and that "
             "--alpn is "
             "the same";
    case ErrorKind::HandshakeCodec:
    case ErrorKind::ProtocolViolation: return "check that --addr is a crosslink source; if it is, report this as a bug";
    case ErrorKind::Transport:
    case ErrorKind::Timeout:
      return "check that the source runs at --addr and that UDP passes between here and there; --retry waits for it";
    case ErrorKind::NotConnected:
    case ErrorKind::AlreadyConnected:
    case ErrorKind::Cancelled:
    case ErrorKind::MirrorPromoted:
    case ErrorKind::Configuration:
    case ErrorKind::Storage:
    case ErrorKind::OutcomeUnknown:
    case ErrorKind::SnapshotOffsetRegression:
    case ErrorKind::SnapshotCrcMismatch:
    case ErrorKind::BytesInFlightCapExceeded:
    case ErrorKind::LogWindowExceeded:
    case ErrorKind::SourceBehind:
    case ErrorKind::HistoriesParted:
    case ErrorKind::OriginChanged:
    case ErrorKind::UnsupportedOperation: return {};
  }
  return {};
}

}  // namespace crosslink::cli
