#include "node/hosting/database_list.hpp"

#include <algorithm>
#include <utility>

#include "node/hosting/hosted_database.hpp"

namespace crosslink::node {

DatabasePointer DatabaseList::find(std::string_view name) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(databases_, name, [](const auto& one) { return std::string_view(one->name()); });
  return found == databases_.end() ? nullptr : *found;
}

DatabasePointer DatabaseList::at(std::uint32_t index) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(databases_, index, [](const auto& one) { return one->index(); });
  return found == databases_.end() ? nullptr : *found;
}

std::vector<DatabasePointer> DatabaseList::all() const {
  const std::scoped_lock lock(mutex_);
  return databases_;
}

void DatabaseList::add(DatabasePointer database) {
  const std::scoped_lock lock(mutex_);
  const auto place =
      std::ranges::upper_bound(databases_, database->index(), {}, [](const auto& one) { return one->index(); });
  std::erase_if(not_open_, [&](const NotOpen& one) { return one.name == database->name(); });
  databases_.insert(place, std::move(database));
}

DatabasePointer DatabaseList::take(std::string_view name) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(databases_, name, [](const auto& one) { return std::string_view(one->name()); });
  if (found == databases_.end()) return nullptr;
  auto taken = std::move(*found);
  databases_.erase(found);
  return taken;
}

void DatabaseList::clear() {
  std::vector<DatabasePointer> gone;
  const std::scoped_lock lock(mutex_);
  gone.swap(databases_);
}

bool DatabaseList::put_not_open(NotOpen database) {
  const std::scoped_lock lock(mutex_);
  const auto known = std::ranges::find(not_open_, database.name, &NotOpen::name);
  if (known != not_open_.end()) {
    const bool was_opening = known->is_opening;
    *known = std::move(database);
    return was_opening && !known->is_opening;
  }
  not_open_.insert(std::ranges::upper_bound(not_open_, database.index, {}, &NotOpen::index), std::move(database));
  return true;
}

void DatabaseList::drop_not_open(std::string_view name) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(not_open_, [name](const NotOpen& one) { return one.name == name; });
}

std::vector<NotOpen> DatabaseList::not_open() const {
  const std::scoped_lock lock(mutex_);
  return not_open_;
}

std::optional<NotOpen> DatabaseList::not_open(std::string_view name) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(not_open_, name, &NotOpen::name);
  return found == not_open_.end() ? std::nullopt : std::optional(*found);
}

std::optional<NotOpen> DatabaseList::not_open_at(std::uint32_t index) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(not_open_, index, &NotOpen::index);
  return found == not_open_.end() ? std::nullopt : std::optional(*found);
}

}  // namespace crosslink::node
