// What the verbs over the admin port share.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "cli/admin_client.hpp"
#include "cli/globals.hpp"

namespace crosslink::cli {

/// As "crosslink: <sentence>" on stderr, or `fields` and the error as one object. Our own errors of these verbs say
/// what to do in their sentence.
int report_unasked(const Globals& globals, const MirrorError& error, boost::json::object fields = {});
/// Precondition: the node said no. Its answer's own fields come first, then the error's.
int report_denied(const Globals& globals, const AdminAnswer& answer, boost::json::object fields = {});

/// Finds the node, asks it and reports: `shown` makes the text of an answer that is none of the two above.
int ask_and_report(const Globals& globals, const AdminOptions& options, const AdminRequest& request,
                   const std::function<std::string(const boost::json::object&)>& shown);

/// NAME: a database's name, checked.
void add_name(CLI::App& verb, std::string& name, std::string_view description);
/// Of what cannot be undone. Errors: Configuration, when it is not there; `what` says what would happen.
Result<void> demand_yes(bool yes, std::string_view what);

/// A verb `crosslink VERB NAME` that is one POST /v1/mirrors/NAME/VERB and answers with the mirror.
struct MirrorAction {
  std::string verb, description;
  /// What --yes agrees to; empty: it is not needed.
  std::string agreed;
};
void add_mirror_action(CLI::App& app, Globals& globals, const MirrorAction& action);

}  // namespace crosslink::cli
