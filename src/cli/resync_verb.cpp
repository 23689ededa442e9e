#include "cli/admin_verbs.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {

void add_resync_verb(CLI::App& app, Globals& globals) {
  add_mirror_action(app, globals,
                    {"resync", "Copy everything anew; the old data answers reads until the new is whole",
                     "the whole database is copied again, and what the source no longer has is gone here, too"});
}

}  // namespace crosslink::cli
