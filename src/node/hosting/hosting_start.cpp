// The start of a node: all databases are opened beside one another, and those that take their time while others are
// served.
#include <boost/asio/post.hpp>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "base/random_id.hpp"
#include "node/hosting/hosting_impl.hpp"
#include "node/log.hpp"

namespace crosslink::node {
namespace {

/// So that what opens soon is there for the first client. What takes longer, as one of a thousand databases or a cluster
/// that hangs, is opened while the others are served.
constexpr std::chrono::milliseconds wait_at_start_max{700};

}  // namespace

Result<void> Hosting::Impl::open_all() {
  if (auto adopted = adopt_databases(); !adopted) return adopted;
  for (const auto& entry : catalog.entries()) {
    if (entry.change != DatabaseChange::none) {
      log(Severity::info, "finishing what was begun before the last end", {{"database", entry.name}});
      // It is to be forgotten in a cluster, which may not answer: that is left to open_rest().
      if (kept_elsewhere(entry)) {
        note_not_open(entry, MirrorError(ErrorKind::Busy, CausedBy::us, "what was begun with it is being finished"));
        continue;
      }
    }
    begin_opening(entry);
  }
  const auto deadline = std::chrono::steady_clock::now() + wait_at_start_max;
  for (auto one = opening_since_start.begin(); one != opening_since_start.end();) {
    auto& opening = *one->second;
    if (opening.result.wait_until(deadline) != std::future_status::ready) {
      list.put_not_open({opening.entry.name, opening.entry.index,
                         MirrorError(ErrorKind::Busy, CausedBy::us, "it is being opened since the node's start"),
                         true});
      ++one;
      continue;
    }
    settle_opened(opening.entry, opening.result.get());
    one = opening_since_start.erase(one);
  }
  return {};
}

void Hosting::Impl::begin_opening(const CatalogEntry& entry) {
  auto promise = std::make_shared<std::promise<Result<DatabasePointer>>>();
  auto opening = std::make_shared<Opening>(entry, promise->get_future());
  opening_since_start.emplace(entry.name, opening);
  boost::asio::post(executor_of(entry), [self = shared_from_this(), opening, promise] {
    promise->set_value(self->open_at_start(opening->entry));
    opening->done.set();
  });
}

/// Null: what was begun before the last end was to delete it.
Result<DatabasePointer> Hosting::Impl::open_at_start(const CatalogEntry& entry) {
  if (kept_elsewhere(entry)) return open_database(entry);
  auto settled = finish_change(entry);
  if (!settled) return settled.error();
  if (!*settled) return DatabasePointer();
  auto identified = with_mirror_id(**std::move(settled));
  return identified ? open_database(*identified) : Result<DatabasePointer>(identified.error());
}

/// One database that does not open keeps no other from being served.
void Hosting::Impl::settle_opened(const CatalogEntry& entry, const Result<DatabasePointer>& opened) {
  const auto now = catalog.find(entry.name);
  if (!opened) {
    note_not_open(entry, opened.error());
  } else if (*opened && now) {
    keep_beside(*now);
    list_database(*opened, *now);
  } else {
    list.drop_not_open(entry.name);
  }
}

/// What was not open when the ports opened.
void Hosting::Impl::go_on_opening() {
  for (const auto& [name, opening] : opening_since_start) {
    being_opened.insert(name);
    group->spawn(finish_opening(shared_from_this(), opening));
  }
  opening_since_start.clear();
}

/// Of one that is kept here the database's turn is taken at once, since no command may touch the folder meanwhile; one
/// that is kept elsewhere takes as long as its cluster lets it, and commands do not wait for that.
awaitable<void> Hosting::Impl::finish_opening(std::shared_ptr<Impl> self, std::shared_ptr<Opening> opening) {
  const auto entry = opening->entry;
  CommandTurns::Held turn;
  if (!kept_elsewhere(entry)) {
    auto taking = self->turns.take(entry.name);
    turn = co_await std::move(taking);
  }
  const bool done = co_await opening->done.wait();
  if (done && kept_elsewhere(entry)) {
    auto taking_over = take_over_elsewhere(self, entry, opening->result.get());
    co_await std::move(taking_over);
  } else if (done) {
    const auto opened = opening->result.get();
    auto settling = self->blocking(self->context.executors.files, [own = self.get(), entry, opened] {
      own->settle_opened(entry, opened);
      return Result<void>{};
    });
    const auto settled = co_await std::move(settling);
    static_cast<void>(settled);  // it was noted
    if (opened && *opened && self->list.find(entry.name)) self->start_mirror(*opened);
  }
  self->being_opened.erase(entry.name);
}

}  // namespace crosslink::node
