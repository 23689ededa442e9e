// Strong types shared by every public header.
//
// An LSN and a byte count are both 64-bit numbers, a cluster id and a database id are both text: mixing them up
// compiles silently unless each has a type of its own.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace crosslink {

/// Log sequence number: strictly rising within one database's log, not always contiguous. 0 is "nothing applied yet".
/// LSNs of two histories cannot be compared: see position.hpp.
struct Lsn {
  std::uint64_t value = 0;
  friend auto operator<=>(const Lsn&, const Lsn&) = default;
};

/// `snapshot_lsn` of a MirrorHelloAck that sends no snapshot: all ones, as the handshake's bytes have it. No commit
/// ever has this LSN.
inline constexpr Lsn no_snapshot{UINT64_MAX};

namespace detail {
/// Text with a tag, so that two kinds of id cannot be swapped. Any bytes are allowed: the codec carries any string.
template <class Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}
  const std::string& str() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;

 private:
  std::string text_;
};
}  // namespace detail

/// Name of a cluster: a lower-case DNS name such as `prod-us`. It is also the TLS server name a mirror demands.
using ClusterId = detail::Id<struct ClusterIdTag>;
/// Name of a database within its cluster.
using DatabaseId = detail::Id<struct DatabaseIdTag>;

/// True when `text` can be a DNS name: 1 to 253 characters, labels of 1 to 63 letters, digits, hyphens or underscores,
/// no hyphen at a label's ends, no trailing dot, no wildcard. A cluster id must pass this before it is dialled.
bool is_dns_name(std::string_view text);

/// ASCII case folded comparison, as DNS names and cluster ids are compared.
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// Text from a peer, made safe to print: control characters, quotes, backslashes and bytes that are not valid UTF-8
/// become `\xNN`; at most `bytes_max` bytes come out (cut at an escape's or a character's end, followed by nothing).
std::string escape(std::string_view text, std::size_t bytes_max = 512);
/// A sentence from a peer, made fit for a terminal: as escape(), but quotes and backslashes stay, so that doing it
/// twice changes nothing.
std::string printable(std::string_view text, std::size_t bytes_max = 512);

}  // namespace crosslink
