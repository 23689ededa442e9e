#include "cli/admin_verbs.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {

void add_resume_verb(CLI::App& app, Globals& globals) {
  add_mirror_action(app, globals, {"resume", "Follow again after `pause`, or after what halted it is mended", ""});
}

}  // namespace crosslink::cli
