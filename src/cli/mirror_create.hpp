// `crosslink mirror create`.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/globals.hpp"

namespace crosslink::cli {

/// Adds `create` below `mirror`.
void add_mirror_create_verb(CLI::App& mirror, Globals& globals);

}  // namespace crosslink::cli
