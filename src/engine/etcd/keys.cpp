#include "engine/etcd/keys.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crosslink::etcd {
namespace {

// Each page costs the server a walk over all keys of the rest of the range: few and large ones.
constexpr std::size_t page_bytes = std::size_t{6} * 1024 * 1024;
constexpr std::int64_t page_keys_max = 50'000;
constexpr char separator = '/';

}  // namespace

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff')
    end.pop_back();
  if (end.empty()) return no_end;
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

bool ends_in_separator(std::string_view prefix) {
  if (prefix.empty()) return true;
  const auto last = static_cast<unsigned char>(prefix.back());
  const bool letter = (last >= 'a' && last <= 'z') || (last >= 'A' && last <= 'Z');
  return !letter && !(last >= '0' && last <= '9') && last < 0x80;
}

std::string_view neighbour_of(std::string_view prefix, std::string_view key) {
  if (key.size() <= prefix.size() || key[prefix.size()] == separator) return {};
  const auto slash = key.find(separator, prefix.size());
  return slash == std::string_view::npos ? key : key.substr(0, slash + 1);
}

bool KeySpace::contains(std::string_view key) const {
  if (!key.starts_with(prefix) || key.starts_with(reserved_prefix)) return false;
  return std::ranges::none_of(excludes, [key](const std::string& one) { return key.starts_with(one); });
}

std::string KeySpace::offered(std::string_view key) const {
  return offered_prefix + std::string(key.substr(prefix.size()));
}

Result<std::string> KeySpace::own(std::string_view offered_key) const {
  const auto refuse = [&](std::string_view why) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer,
                       fmt::format("the key \"{}\" {}", escape(offered_key, 200), why));
  };
  if (!offered_key.starts_with(offered_prefix)) return refuse("does not begin as the source said its keys do");
  auto key = prefix + std::string(offered_key.substr(offered_prefix.size()));
  if (key.empty()) return refuse("is empty, which etcd does not take");
  if (key.starts_with(reserved_prefix))
    return refuse(
        "would be one that crosslink keeps for itself in etcd: delete it at the source and `crosslink resync` "
        "this mirror, since a resume comes upon the same write again, or keep it under another prefix");
  return key;
}

std::optional<KeySpace::OwnRange> KeySpace::own_range(std::string_view begin,
                                                      std::optional<std::string_view> end) const {
  auto range = all();
  if (begin > offered_prefix) {
    if (!begin.starts_with(offered_prefix)) return std::nullopt;  // it begins behind all keys there are
    range.key = prefix + std::string(begin.substr(offered_prefix.size()));
  }
  if (!end) return range;
  if (end->starts_with(offered_prefix)) {
    range.range_end = prefix + std::string(end->substr(offered_prefix.size()));
    if (range.range_end.empty()) return std::nullopt;
  } else if (*end < offered_prefix) {
    return std::nullopt;
  }
  if (range.range_end != no_end && range.key >= range.range_end) return std::nullopt;
  return range;
}

Result<std::optional<wire::RangeResponse>> Pages::next() {
  if (done_) return std::optional<wire::RangeResponse>();
  for (;;) {
    wire::RangeRequest request;
    request.set_key(range_.key);
    request.set_range_end(range_.range_end);
    request.set_limit(limit_);
    request.set_revision(revision_);
    request.set_keys_only(keys_only_);
    auto page = client_->range(request);
    if (!page) {
      // Values are larger here than on the page before.
      if (page.error().kind() != ErrorKind::UnsupportedOperation || limit_ == 1) return page.error();
      limit_ = std::max<std::int64_t>(limit_ / 8, 1);
      continue;
    }
    done_ = !page->more() || page->kvs_size() == 0;
    if (page->kvs_size() > 0) {
      range_.key = page->kvs(page->kvs_size() - 1).key() + '\0';
      const auto pair_bytes = page->ByteSizeLong() / static_cast<std::size_t>(page->kvs_size()) + 1;
      limit_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(page_bytes / pair_bytes), 1, page_keys_max);
    }
    return std::optional(*std::move(page));
  }
}

}  // namespace crosslink::etcd
