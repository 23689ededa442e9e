#include "link/name_places.hpp"

namespace crosslink::link {

NamePlaces::Place NamePlaces::take(const std::string& name, std::optional<Full>& full) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_name_.find(name);
  if (found != by_name_.end() && found->second >= per_name_max_) {
    full = Full::for_this_name;
    return nullptr;
  }
  if (taken_ >= all_max_) {
    full = Full::for_all;
    return nullptr;
  }
  ++by_name_[name];
  ++taken_;
  return {static_cast<const void*>(this), [self = shared_from_this(), name](const void*) { self->give_back(name); }};
}

std::uint32_t NamePlaces::taken() const {
  const std::scoped_lock lock(mutex_);
  return taken_;
}

void NamePlaces::give_back(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_name_.find(name);
  if (--found->second == 0) by_name_.erase(found);
  --taken_;
}

}  // namespace crosslink::link
