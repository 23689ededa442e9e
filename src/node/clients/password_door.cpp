#include "node/clients/password_door.hpp"

#include <algorithm>

namespace crosslink::node {
namespace {

/// Of IPv6 the network: a client that has one address there has all of it.
std::string name_of(const boost::asio::ip::address& from) {
  if (from.is_v4()) return from.to_string();
  const auto& v6 = from.to_v6();
  if (v6.is_v4_mapped()) return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6).to_string();
  auto bytes = v6.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
  return boost::asio::ip::make_address_v6(bytes).to_string();
}

}  // namespace

void PasswordDoor::forget(Clock::time_point now) {
  while (!by_age_.empty() && (by_age_.size() > addresses_max || now - by_age_.front().last_wrong >= forgotten_after)) {
    by_name_.erase(by_age_.front().name);
    by_age_.pop_front();
  }
}

std::optional<PasswordDoor::Clock::duration> PasswordDoor::come(const boost::asio::ip::address& from,
                                                                Clock::time_point now) {
  forget(now);
  const auto found = by_name_.find(name_of(from));
  if (found == by_name_.end() || found->second->wrong < free_tries) return Clock::duration::zero();
  auto& address = *found->second;
  const auto at = std::max(now, address.next);
  if (at - now > wait_max) return std::nullopt;
  address.next = at + step;
  return at - now;
}

void PasswordDoor::on_wrong(const boost::asio::ip::address& from, Clock::time_point now) {
  auto name = name_of(from);
  const auto [place, is_new] = by_name_.try_emplace(name);
  if (is_new) {
    by_age_.push_back({std::move(name), 0, now, now});
    place->second = std::prev(by_age_.end());
  } else {
    by_age_.splice(by_age_.end(), by_age_, place->second);
  }
  auto& address = *place->second;
  ++address.wrong;
  address.last_wrong = now;
  forget(now);
}

}  // namespace crosslink::node
