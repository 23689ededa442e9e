// What the verbs over the admin port share.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "cli/admin_client.hpp"
#include "cli/command_line.hpp"

namespace crosslink::cli {

/// As "crosslink: <sentence>" on stderr, or `fields` and the error as one object. Our own errors of these verbs say
/// what to do in their sentence.
int report_unasked(const Globals& globals, const MirrorError& error, boost::json::object fields = {});
/// Precondition: the node said no. Its answer's own fields come first, then the error's.
int report_denied(const Globals& globals, const AdminAnswer& answer, boost::json::object fields = {});

/// Finds the node, asks it and reports: `shown` makes the text of an answer that is none of the two above.
int ask_and_report(const Globals& globals, const AdminOptions& options, const AdminRequest& request,
                   const std::function<std::string(const boost::json::object&)>& shown);

/// --config or --admin and --token-file, --ca, --cluster-id.
void add_admin_options(const Command& verb, AdminOptions& options);
/// NAME: a database's name, checked, and required unless that is taken back.
Option add_name(const Command& verb, std::string& name, const std::string& description);
/// Of what cannot be undone. Errors: Configuration, when it is not there; `what` says what would happen.
Result<void> demand_yes(bool yes, std::string_view what);

}  // namespace crosslink::cli
