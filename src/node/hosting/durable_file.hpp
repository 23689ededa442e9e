// Small files that must be whole after a kill and a power cut, and folders that move.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "crosslink/result.hpp"

namespace crosslink::node {

/// The old content or the new, whatever happens; mode 0600; durable when it returns. Errors: Storage.
Result<void> replace_file(const std::filesystem::path& file, std::string_view content);
/// The whole file; Storage also above `bytes_max`. A file that is not there is an empty text.
Result<std::string> read_small_file(const std::filesystem::path& file, std::uint64_t bytes_max);
/// Moves a folder to a name that is not taken, on the same disk; durable when it returns. One that is not there any
/// more counts as moved when `to` is. Errors: Storage.
Result<void> move_folder(const std::filesystem::path& from, const std::filesystem::path& to);
/// With all that is in it; it need not be there, and may go meanwhile. Errors: Storage.
Result<void> remove_folder(const std::filesystem::path& folder);
/// Of what an operator gives: only its owner may touch it; or it is root's, and the group that may read it (a
/// folder: use it) is one of this process's, as a Secret of Kubernetes with fsGroup is. One that is not there is no
/// error here. Errors: Configuration, with the mode and the owner found.
Result<void> check_private(const std::filesystem::path& path);
/// Of what this node made: the same, but rights of the group are taken away where this process owns it. The mount of
/// a volume may have given them to all that is on it. Errors: Configuration.
Result<void> keep_private(const std::filesystem::path& path);
/// Could it be kept private? Changes nothing. Errors: Configuration.
Result<void> check_kept_private(const std::filesystem::path& path);
/// Made for its owner only; one that is there is kept private. Errors: Storage, Configuration.
Result<void> make_private_folder(const std::filesystem::path& folder);
/// The first line of a file that is private. Errors: Configuration, also when it is empty.
Result<std::string> read_password(const std::filesystem::path& file);

/// Held until it goes: no other process has the folder so long. The file that it stands by stays. Errors: Storage;
/// Configuration when another process has it.
Result<std::shared_ptr<void>> lock_folder(const std::filesystem::path& folder);

}  // namespace crosslink::node
