// One function per verb: adds it to the program, with a footer "Example:". The verbs over the admin port live in
// mirror_verbs.cpp, mirror_create.cpp and node_verbs.cpp, each other in the file of its name.
#pragma once

#include "cli/command_line.hpp"

namespace crosslink::cli {

void add_certs_verb(const Command& program);
void add_ping_verb(const Command& program);
void add_listen_verb(const Command& program);
void add_serve_verb(const Command& program);
void add_config_verb(const Command& program);
void add_mirror_verb(const Command& program);
void add_status_verb(const Command& program);
void add_pause_verb(const Command& program);
void add_resume_verb(const Command& program);
void add_resync_verb(const Command& program);
void add_promote_verb(const Command& program);
void add_verify_verb(const Command& program);
void add_limit_verb(const Command& program);
void add_db_verb(const Command& program);

/// Below `crosslink mirror`.
void add_mirror_create_verb(const Command& mirror);

}  // namespace crosslink::cli
