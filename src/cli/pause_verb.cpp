#include "cli/admin_verbs.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {

void add_pause_verb(CLI::App& app, Globals& globals) {
  add_mirror_action(app, globals, {"pause", "Stop following; the data stays and answers reads", ""});
}

}  // namespace crosslink::cli
