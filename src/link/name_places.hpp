// Places shared among certificate names: so many for one name, so many for all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace crosslink::link {

/// Thread safe. Lives as long as the last place taken from it.
class NamePlaces : public std::enable_shared_from_this<NamePlaces> {
 public:
  enum class Full : std::uint8_t { for_this_name, for_all };
  /// A place; given back when the last copy goes.
  using Place = std::shared_ptr<const void>;

  NamePlaces(std::uint32_t per_name_max, std::uint32_t all_max) : per_name_max_(per_name_max), all_max_(all_max) {}

  /// A place, or what is full (`full` is set then and the place is empty).
  Place take(const std::string& name, std::optional<Full>& full);
  std::uint32_t taken() const;

 private:
  void give_back(const std::string& name);

  const std::uint32_t per_name_max_, all_max_;
  mutable std::mutex mutex_;
  std::map<std::string, std::uint32_t> by_name_;
  std::uint32_t taken_ = 0;
};

}  // namespace crosslink::link
