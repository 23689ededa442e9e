// What the config says of each database, now and after a reload: whom it lets in, and what vouches for them.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/hosting_impl.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

/// Who may mirror it: the first list that is said of its table in the config, by command, of the config's databases in
/// general. "*" is whoever the CA signed; so was no list at all, before.
std::optional<std::vector<std::string>> list_in_force(const std::optional<std::vector<std::string>>& table,
                                                      const CatalogEntry& entry,
                                                      const std::optional<std::vector<std::string>>& general) {
  for (const auto* list : {&table, &entry.allow_mirrors, &general}) {
    if (!*list) continue;
    const bool any = std::ranges::find(**list, any_mirror) != (*list)->end();
    return any ? std::nullopt : *list;
  }
  return entry.open_without_list ? std::nullopt : std::optional(std::vector<std::string>());
}

}  // namespace

DatabaseConfig Hosting::Impl::config_of(const CatalogEntry& entry) const {
  const std::scoped_lock lock(settings_mutex);
  return config_with_settings(entry);
}

DatabaseConfig Hosting::Impl::config_with_settings(const CatalogEntry& entry) const {
  const auto found = std::ranges::find(config.databases, entry.name, &DatabaseConfig::name);
  const bool named = found != config.databases.end();
  auto chosen = named ? *found : config.database_defaults;
  chosen.name = entry.name;
  chosen.allow_mirrors =
      list_in_force(named ? found->allow_mirrors : std::nullopt, entry, config.database_defaults.allow_mirrors);
  return chosen;
}

bool Hosting::allows(std::span<const std::string> names, const std::string& database) const {
  if (const auto open = impl_->list.find(database)) return open->allows(names);
  const auto entry = impl_->catalog.find(database);
  return entry && is_allowed(impl_->config_of(*entry).allow_mirrors, names);
}

Task<void> Hosting::allow_mirrors(std::string name, std::vector<std::string> names, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, std::vector<std::string> allowed,
                 CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("db allow-mirrors", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return MirrorError::cancelled("the command: its caller left before it began");
    auto entry = self->catalog.find(wanted);
    if (!entry) co_return self->unknown(wanted);
    if (self->has_list_in_config(wanted)) {
      co_return MirrorError::configuration(
          fmt::format("the config says who may mirror '{}': change allow_mirrors there, and send SIGHUP", wanted));
    }
    log(Severity::info, "who may mirror a database was changed",
        {{"database", wanted}, {"allow_mirrors", joined(allowed, ",")}});
    entry->allow_mirrors = std::move(allowed);
    if (auto kept = self->put(*std::move(entry)); !kept) co_return kept.error();
    self->apply_lists(true);
    co_return Result<void>{};
  };
  return work(impl_, std::move(name), std::move(names), std::move(caller));
}

bool Hosting::Impl::has_list_in_config(const std::string& name) const {
  const std::scoped_lock lock(settings_mutex);
  const auto found = std::ranges::find(config.databases, name, &DatabaseConfig::name);
  return found != config.databases.end() && found->allow_mirrors.has_value();
}

/// The link of a mirror here, when what vouched for its source does so no more: it dials anew, and sees.
void Hosting::Impl::judge_source(HostedDatabase& database, bool same_authorities) {
  const auto mirror = database.shared_mirror();
  auto connection = mirror ? mirror->mirror().link().connection() : std::nullopt;
  if (!connection) return;
  if (!same_authorities || connection->peer_certificate_not_after() < std::chrono::system_clock::now())
    connection->close(normal_close_code);
}

/// Why a session of a mirror may not go on; empty: it may, as far as this can be told here.
std::string_view Hosting::Impl::objection(const HostedDatabase& database, const ServedMirrorFacts& served) {
  if (!database.allows(served.peer_names)) return "its name is no longer allowed";
  if (served.certificate_not_after < std::chrono::system_clock::now()) return "its certificate has expired";
  return {};
}

void Hosting::Impl::take_settings(const NodeConfig& fresh) {
  const std::scoped_lock lock(settings_mutex);
  config.databases = fresh.databases;
  config.database_defaults = fresh.database_defaults;
  config.tls = fresh.tls;
  context.tls = fresh.tls;
  auto now = authorities_in(fresh.tls);
  const bool same_authorities = now == std::exchange(authorities, now);
  if (!same_authorities)
    log(Severity::info, "the certificate authorities are others now: all mirrors connect anew", {});
  apply_lists_locked(same_authorities);
}

void Hosting::Impl::apply_lists(bool same_authorities) {
  const std::scoped_lock lock(settings_mutex);
  apply_lists_locked(same_authorities);
}

/// With settings_mutex held.
void Hosting::Impl::apply_lists_locked(bool same_authorities) {
  for (const auto& database : list.all()) {
    const auto entry = catalog.find(database->name());
    if (!entry) continue;
    database->set_allow_mirrors(config_with_settings(*entry).allow_mirrors);
    database->source().end_sessions_unless([&](const ServedMirrorFacts& served) {
      const auto why = objection(*database, served);
      if (!why.empty()) {
        log(Severity::warning, fmt::format("mirror cut: {}", why),
            {{"database", database->name()}, {"mirror", served.peer_names.front()}});
      }
      return why.empty() && same_authorities;
    });
    judge_source(*database, same_authorities);
  }
}

void Hosting::reload(const NodeConfig& config) {
  if (!impl_->stopping) impl_->take_settings(config);
}

}  // namespace crosslink::node
