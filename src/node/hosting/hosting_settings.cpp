// What the config says of each database, now and after a reload: whom it lets in, and what vouches for them.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/hosting/hosting_impl.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

/// Who may mirror it: the first list that is said of its table in the config, by command, of the config's databases in
/// general. "*" is any name that the CA signed; so was no list at all, before.
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
    const std::scoped_lock lock(self->settings_mutex);
    self->apply_lists();
    co_return Result<void>{};
  };
  return work(impl_, std::move(name), std::move(names), std::move(caller));
}

bool Hosting::Impl::has_list_in_config(const std::string& name) const {
  const std::scoped_lock lock(settings_mutex);
  const auto found = std::ranges::find(config.databases, name, &DatabaseConfig::name);
  return found != config.databases.end() && found->allow_mirrors.has_value();
}

bool Hosting::Impl::is_in_config(const std::string& name) const {
  const std::scoped_lock lock(settings_mutex);
  return std::ranges::find(config.databases, name, &DatabaseConfig::name) != config.databases.end();
}

/// Why nothing may go on with a certificate; empty: it may.
std::string_view Hosting::Impl::objection(const std::string& serial,
                                          std::chrono::system_clock::time_point not_after) const {
  if (context.tls.denied && context.tls.denied->contains(serial)) return "its certificate is denied";
  if (not_after < std::chrono::system_clock::now()) return "its certificate has expired";
  return {};
}

/// The link of a mirror here, when what vouched for its source does so no more: it dials anew, and sees.
void Hosting::Impl::judge_source(HostedDatabase& database, bool same_authorities) const {
  const auto mirror = database.shared_mirror();
  auto connection = mirror ? mirror->mirror().link().connection() : std::nullopt;
  if (!connection) return;
  const auto why = objection(connection->peer_certificate_serial(), connection->peer_certificate_not_after());
  if (!why.empty()) {
    log(Severity::warning, fmt::format("link to a source cut: {}", why),
        {{"mirror", database.name()},
         {"source", connection->peer_names().front()},
         {"serial", connection->peer_certificate_serial()}});
  }
  if (!why.empty() || !same_authorities) connection->close(normal_close_code);
}

void Hosting::Impl::judge_connections(bool same_authorities) {
  for (const auto& database : list.all()) {
    database->source().end_sessions_unless([&](const ServedMirrorFacts& served) {
      const auto why = database->allows(served.peer_names)
                           ? objection(served.certificate_serial, served.certificate_not_after)
                           : "its name is no longer allowed";
      if (!why.empty()) {
        log(Severity::warning, fmt::format("mirror cut: {}", why),
            {{"database", database->name()},
             {"mirror", served.peer_names.front()},
             {"serial", served.certificate_serial}});
      }
      return why.empty() && same_authorities;
    });
    judge_source(*database, same_authorities);
  }
}

void Hosting::Impl::take_settings(const NodeConfig& fresh) {
  const std::scoped_lock lock(settings_mutex);
  config.databases = fresh.databases;
  config.database_defaults = fresh.database_defaults;
  apply_lists();
}

/// With settings_mutex held.
void Hosting::Impl::apply_lists() {
  for (const auto& database : list.all()) {
    if (const auto entry = catalog.find(database->name()))
      database->set_allow_mirrors(config_with_settings(*entry).allow_mirrors);
  }
  judge_connections(true);
}

void Hosting::reload(const NodeConfig& config) {
  if (!impl_->stopping) impl_->take_settings(config);
}

void Hosting::renew_certificates(const quic::TlsFiles& tls) {
  if (impl_->stopping) return;
  const std::scoped_lock lock(impl_->settings_mutex);
  impl_->config.tls = tls;
  impl_->context.tls = tls;
  auto now = authorities_in(tls);
  const bool same_authorities = now == std::exchange(impl_->authorities, now);
  if (!same_authorities)
    log(Severity::info, "the certificate authorities are others now: all mirrors connect anew", {});
  impl_->judge_connections(same_authorities);
}

void Hosting::judge_connections() {
  if (impl_->stopping) return;
  const std::scoped_lock lock(impl_->settings_mutex);
  impl_->judge_connections(true);
}

std::vector<std::pair<std::string, EtcdPlace>> Hosting::etcd_places() const {
  std::vector<std::pair<std::string, EtcdPlace>> places;
  for (const auto& entry : impl_->catalog.entries()) {
    if (entry.etcd) places.emplace_back(entry.name, *entry.etcd);
  }
  return places;
}

}  // namespace crosslink::node
