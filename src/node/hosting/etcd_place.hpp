// Where in an existing etcd cluster a database is kept, as an operator says it: in the config, or in a command.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/result.hpp"

namespace crosslink::node {

struct EtcdPlace {
  EtcdCluster cluster;
  std::optional<std::string> prefix;                        ///< of a mirror: absent takes the source's
  std::vector<std::string> excludes;                        ///< of a root only
  std::optional<std::uint64_t> target_revisions_kept = {};  ///< of a mirror: absent takes the config's
  bool password_in_clear = false;                           ///< may go over http:// to another machine
  friend bool operator==(const EtcdPlace&, const EtcdPlace&) = default;
};

inline constexpr std::int64_t target_revisions_kept_max = 1'000'000'000;

/// "etcd http://10.0.0.1:2379, keys /registry/": for people.
std::string to_text(const EtcdPlace& place);

/// Its fields are named as etcdctl's flags. The catalog's and a command's spelling of it; a command's may lack what has
/// a default, and may have nothing unknown. Errors: Configuration that names the field.
boost::json::object write_etcd_place(const EtcdPlace& place);
Result<EtcdPlace> read_etcd_place(const boost::json::object& from);

/// What can be known of it without looking at files (check_certificates) or asking the cluster. Errors: Configuration
/// that names the field.
Result<void> check_etcd_place(const EtcdPlace& place);

}  // namespace crosslink::node
