#include "engine/etcd/identity.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "crosslink/entry.hpp"

namespace crosslink::etcd {
namespace {

constexpr std::size_t cluster_bytes = 8;

std::array<std::byte, cluster_bytes> first_half(std::uint64_t etcd_cluster) {
  PairDigest digest;
  digest.add("etcd cluster", std::to_string(etcd_cluster));
  const auto whole = digest.digest();
  std::array<std::byte, cluster_bytes> half{};
  std::copy_n(whole.bytes.begin(), half.size(), half.begin());
  return half;
}

}  // namespace

Incarnation root_incarnation(std::uint64_t etcd_cluster, const std::string& crosslink_cluster,
                             const std::string& prefix, std::vector<std::string> excludes) {
  PairDigest digest;
  digest.add("crosslink cluster", crosslink_cluster);
  digest.add("etcd cluster", std::to_string(etcd_cluster));
  digest.add("prefix", prefix);
  std::ranges::sort(excludes);
  for (const auto& one : excludes)
    digest.add("exclude", one);
  Incarnation incarnation{digest.digest().bytes};
  std::ranges::copy(first_half(etcd_cluster), incarnation.bytes.begin());
  return incarnation;
}

bool may_be_in(const Incarnation& root, std::uint64_t etcd_cluster) {
  return std::ranges::equal(std::span(root.bytes).first(cluster_bytes), first_half(etcd_cluster));
}

}  // namespace crosslink::etcd
