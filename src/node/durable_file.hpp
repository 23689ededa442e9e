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
/// With all that is in it; it need not be there. Errors: Storage.
Result<void> remove_folder(const std::filesystem::path& folder);
/// Nobody but the owner may touch it; `mode` is what to give it, for the sentence. One that is not there is no error
/// here. Errors: Configuration.
Result<void> check_private(const std::filesystem::path& path, std::string_view mode);
/// Made for its owner only; one that is there must not be open to others. Errors: Storage, Configuration.
Result<void> make_private_folder(const std::filesystem::path& folder);

/// Held until it goes: no other process has the folder so long. The file that it stands by stays. Errors: Storage;
/// Configuration when another process has it.
Result<std::shared_ptr<void>> lock_folder(const std::filesystem::path& folder);

}  // namespace crosslink::node
