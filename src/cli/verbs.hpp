// One function per verb: adds its subcommand, with a footer "Example:", and a callback that sets Globals::run.
// Each lives in the file of its name, certs_verb.cpp for instance. Both references outlive the parse and the run.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/globals.hpp"

namespace crosslink::cli {

void add_certs_verb(CLI::App& app, Globals& globals);
void add_ping_verb(CLI::App& app, Globals& globals);
void add_listen_verb(CLI::App& app, Globals& globals);
void add_serve_verb(CLI::App& app, Globals& globals);
void add_config_verb(CLI::App& app, Globals& globals);
void add_mirror_verb(CLI::App& app, Globals& globals);
void add_status_verb(CLI::App& app, Globals& globals);
void add_pause_verb(CLI::App& app, Globals& globals);
void add_resume_verb(CLI::App& app, Globals& globals);
void add_resync_verb(CLI::App& app, Globals& globals);
void add_promote_verb(CLI::App& app, Globals& globals);
void add_verify_verb(CLI::App& app, Globals& globals);
void add_limit_verb(CLI::App& app, Globals& globals);
void add_db_verb(CLI::App& app, Globals& globals);
void add_bench_verb(CLI::App& app, Globals& globals);

}  // namespace crosslink::cli
