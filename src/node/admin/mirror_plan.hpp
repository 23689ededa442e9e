// What a new mirror would meet, and what data it would put aside: asked before anything is changed.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>

#include "crosslink/awaitable.hpp"
#include "node/hosting/hosting.hpp"
#include "replication/source_probe.hpp"

namespace crosslink::node {

/// A mirror as an operator asks for it.
struct MirrorRequest {
  std::string name;
  MirrorSpec spec;
  std::optional<EtcdPlace> etcd;  ///< absent: RocksDB, here
  bool replace = false, yes = false, dry_run = false;
};
/// From a request's body. Errors: Configuration that names the field.
Result<MirrorRequest> read_mirror_request(const boost::json::object& body);

/// Asks the source. Errors: those of replication::probe_source.
Task<replication::SourceFacts> ask_source(const Hosting& hosting, MirrorSpec spec);

/// What is to keep a mirror.
struct TargetFacts {
  std::string kept_at;               ///< in words
  std::optional<EtcdSurvey> survey;  ///< absent: nothing of others can stand there
};
/// Asks what is to keep the mirror, and changes nothing. Blocks. Errors: as open_engine and EtcdDatabase::survey;
/// UnsupportedOperation when it would be kept over its source's own keys. `source`: null when it does not answer.
Result<TargetFacts> ask_target(const Hosting& hosting, const MirrorRequest& request,
                               const replication::SourceFacts* source);

/// What stands where a mirror is to be made; absent when that cannot be told, which is no obstacle: its bootstrap looks
/// again. Errors: UnsupportedOperation when its source or another mirror has the place.
Task<std::optional<EtcdSurvey>> check_place(const Hosting& hosting, MirrorRequest request);

/// Why that takes --yes; absent: it does not. `promoted`: the database of that name takes writes now, and is replaced.
std::optional<std::string> why_agreement(const EtcdSurvey& survey, const std::string& name, bool promoted);
/// "such as a, b", and what the prefix is shared with, if it ends in no separator.
std::string survey_text(const EtcdSurvey& survey);
boost::json::object report_survey(const EtcdSurvey& survey);

/// The source follows `database`, "cluster/name", by way of whatever stands between.
bool follows(const replication::SourceFacts& source, const std::string& database);

/// The checks of a dry run, each with what came of it. `asked` is what ask_source() said, `target` what ask_target().
boost::json::object check_mirror(Hosting& hosting, const MirrorRequest& request,
                                 const Result<replication::SourceFacts>& asked, const Result<TargetFacts>& target);

/// What the present database of that name has that the source has not: entries after where the source, when it was a
/// mirror of it, stood. `source` is what ask_source() said. Blocks: reads the log. Null when there is no database of that
/// name.
boost::json::value list_replaced(const DatabasePointer& present, const Result<replication::SourceFacts>& source);

}  // namespace crosslink::node
