// Which mirror's confirmations count for each name in sync_mirrors: a small file beside the database's data, so that it
// goes where the data goes and is forgotten with it.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/files.hpp"
#include "crosslink/position.hpp"
#include "crosslink/result.hpp"

namespace crosslink::node {

/// By the name in sync_mirrors.
using CountedMirrors = std::map<std::string, MirrorIdentity>;

/// A file that is not there is none counted yet. Errors: Storage; Configuration when it is no such file.
Result<CountedMirrors> read_counted_mirrors(const std::filesystem::path& file,
                                            const base::Files& files = base::Files());
/// Durable when it returns. Errors: Storage.
Result<void> write_counted_mirrors(const std::filesystem::path& file, const CountedMirrors& counted,
                                   const base::Files& files = base::Files());

}  // namespace crosslink::node
