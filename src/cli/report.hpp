// How verbs speak: results on stdout, everything else on stderr.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cli/globals.hpp"
#include "crosslink/error.hpp"

namespace crosslink::cli {

/// One object on one line of stdout, flushed.
void print_json(const boost::json::object& object);
/// One line on stdout, flushed.
void print_line(std::string_view text);
/// Appends `error` (the kind), `caused_by` and `message`; all null without an error. Every JSON object ends with them.
void append_error(boost::json::object& object, const std::optional<MirrorError>& error);

/// The end of a verb that failed: in JSON `fields` and the error as one object on stdout, else `PROGRAM: <sentence>`
/// and what to do next on stderr. Returns the exit code.
int report_error(const Globals& globals, const MirrorError& error, boost::json::object fields = {});
/// The end of a verb that worked: in JSON `fields` with a null error, else `text`. Returns exit_good.
int report_good(const Globals& globals, boost::json::object fields, std::string_view text);

/// A line on stderr, if the log level wants it.
void note(const Globals& globals, LogLevel level, std::string_view text);

/// What an operator does about an error whose sentence does not say it; may be empty.
std::string_view next_step(ErrorKind kind);

}  // namespace crosslink::cli
