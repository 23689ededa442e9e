// A certificate authority in a folder, enough for clusters that have none of their own.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "crosslink/result.hpp"

namespace crosslink::tls {

/// Makes `dir` (0700, if it is missing), ca.pem and ca.key (0600 from its first byte): ECDSA P-256, valid for 10 years,
/// may sign end certificates only. On failure no file is changed, unless the folder breaks between the two renames at
/// the end. Errors, all Configuration: a file exists and not `force`; the folder cannot be written.
Result<void> make_authority(const std::filesystem::path& dir, bool force);

/// Makes NAME.pem and NAME.key (0600 from its first byte) in `dir`, signed by its authority: for server and client, the
/// DNS names `name` and `also`, valid for 825 days but no longer than the authority. On failure as make_authority.
/// Errors, all Configuration: a name that is no lower-case DNS name, or the name `ca`; over 64 names; no usable
/// authority in `dir`; a file exists and not `force`; the folder cannot be written.
Result<void> issue(const std::filesystem::path& dir, const std::string& name, std::span<const std::string> also,
                   bool force);

}  // namespace crosslink::tls
