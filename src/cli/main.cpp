#include "cli/verbs.hpp"

int main(int argc, char** argv) {
  using namespace crosslink::cli;
  const Program program{
      "crosslink",
      "crosslink mirrors databases of other clusters over QUIC.",
      "Global options may stand before or after the verb.\nExample:\n  crosslink certs init --dir certs -o json",
      {add_certs_verb, add_ping_verb, add_listen_verb, add_serve_verb, add_config_verb, add_mirror_verb,
       add_status_verb, add_pause_verb, add_resume_verb, add_resync_verb, add_promote_verb, add_verify_verb,
       add_limit_verb, add_db_verb},
      {{"bench", "benchmarks are a program of their own, crosslink-bench"}}};
  return run_program(program, argc, argv);
}
