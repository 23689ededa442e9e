// Which keys of an etcd are a database's, and under which names it offers them; reading ranges of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/etcd/client.hpp"

namespace crosslink::etcd {

/// No key below it is part of any database.
inline constexpr std::string_view reserved_prefix = "/crosslink/";

/// etcd's way of saying "all keys": from "\0" to "\0".
inline const std::string first_key(1, '\0'), no_end(1, '\0');
/// The key behind all that begin with `prefix`, in etcd's spelling.
std::string prefix_end(std::string_view prefix);

/// No more of a word can follow: the prefix is empty, or ends in neither a letter nor a digit.
bool ends_in_separator(std::string_view prefix);
/// Where a key begins with `prefix` and goes on as another word does, as "/app-prod/1" does with "/app": that word with
/// the separator behind it, if there is one ("/app-prod/"). Empty: the key is the prefix, or goes on with '/'.
std::string_view neighbour_of(std::string_view prefix, std::string_view key);

/// Keys below `prefix` in etcd, without the excluded and the reserved ones; others know them with `offered_prefix` in
/// its place.
struct KeySpace {
  std::string prefix, offered_prefix;
  std::vector<std::string> excludes;

  bool contains(std::string_view key) const;
  /// Precondition: contains(key).
  std::string offered(std::string_view key) const;
  /// Errors: UnsupportedOperation for a key that is not below offered_prefix, is empty, or would be reserved.
  Result<std::string> own(std::string_view offered_key) const;
  /// The part of [begin, end), in offered names, that lies below the prefix; absent when nothing does.
  struct OwnRange {
    std::string key, range_end;
  };
  std::optional<OwnRange> own_range(std::string_view begin, std::optional<std::string_view> end) const;
  OwnRange all() const { return {prefix.empty() ? first_key : prefix, prefix_end(prefix)}; }
};

/// Pairs of a range, page by page, in key order.
class Pages {
 public:
  /// `revision` 0: the newest at each page.
  Pages(Client& client, KeySpace::OwnRange range, std::int64_t revision, bool keys_only = false)
      : client_(&client), range_(std::move(range)), revision_(revision), keys_only_(keys_only) {}
  /// Absent at the end. Errors: LogWindowExceeded once `revision` was compacted: go_on_at() goes on; Storage.
  Result<std::optional<wire::RangeResponse>> next();
  void go_on_at(std::int64_t revision) { revision_ = revision; }

 private:
  Client* client_;
  KeySpace::OwnRange range_;
  std::int64_t revision_, limit_ = 500;
  bool keys_only_, done_ = false;
};

}  // namespace crosslink::etcd
