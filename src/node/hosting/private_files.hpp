// What others must not read or change, given by an operator or made here.
#pragma once

#include <filesystem>
#include <string>

#include "base/files.hpp"
#include "crosslink/result.hpp"

namespace crosslink::node {

/// Of what an operator gives: only its owner may touch it; or it is root's, and the group that may read it (a
/// folder: use it) is one of this process's, as a Secret of Kubernetes with fsGroup is. One that is not there is no
/// error here. Errors: Configuration, with the mode and the owner found.
Result<void> check_private(const std::filesystem::path& path);
/// Of what this node made: the same, but rights of the group are taken away where this process owns it. The mount of
/// a volume may have given them to all that is on it. Errors: Configuration.
Result<void> keep_private(const std::filesystem::path& path);
/// Could it be kept private? Changes nothing. Errors: Configuration.
Result<void> check_kept_private(const std::filesystem::path& path);
/// Made for its owner only, durable when it returns; one that is there is kept private. Errors: Storage, Configuration.
Result<void> make_private_folder(const std::filesystem::path& folder, const base::Files& files = base::Files());
/// The first line of a file that is private. Errors: Configuration, also when it is empty.
Result<std::string> read_password(const std::filesystem::path& file);

}  // namespace crosslink::node
