#include "crosslink/database_source.hpp"

#include <list>
#include <mutex>
#include <utility>

#include "replication/served_mirror.hpp"

namespace crosslink {

using replication::ServedMirror;

struct DatabaseSource::Impl {
  Impl(SourceEngine& own_engine, VerifiableEngine* own_verifiable, boost::asio::any_io_executor executor,
       DatabaseSourceOptions chosen)
      : engine(&own_engine),
        verifiable(own_verifiable),
        engine_executor(std::move(executor)),
        options(std::move(chosen)),
        ring(own_engine, options.ring_bytes_max),
        pins(std::make_shared<replication::KeptPins>(own_engine, engine_executor, options.bootstrap_away_max)),
        rates(options) {}

  std::vector<std::shared_ptr<ServedMirror>> now_served() {
    const std::scoped_lock lock(mutex);
    return {served.begin(), served.end()};
  }
  void on_log(const CommittedLog& log) {
    ring.push(log);
    pins->head_moved();
    const std::scoped_lock lock(mutex);
    for (const auto& one : served)
      one->head_moved();
  }
  void end_sessions() {
    ring.clear();
    for (const auto& one : now_served())
      one->end();
  }

  SourceEngine* const engine;
  VerifiableEngine* const verifiable;
  const boost::asio::any_io_executor engine_executor;
  const DatabaseSourceOptions options;
  replication::LogRing ring;
  const std::shared_ptr<replication::KeptPins> pins;
  replication::SharedRates rates;
  std::mutex mutex;
  std::list<std::shared_ptr<ServedMirror>> served;
};

DatabaseSource::DatabaseSource(SourceEngine& engine, VerifiableEngine* verifiable,
                               boost::asio::any_io_executor engine_executor, DatabaseSourceOptions options)
    : impl_(std::make_shared<Impl>(engine, verifiable, std::move(engine_executor), std::move(options))) {
  engine.watch_log([weak = std::weak_ptr<Impl>(impl_)](const CommittedLog& log) {
    const auto impl = weak.lock();
    if (!impl) return;
    impl->on_log(log);
    if (impl->options.on_log) impl->options.on_log(log);
  });
  engine.watch_history([weak = std::weak_ptr<Impl>(impl_)] {
    const auto impl = weak.lock();
    if (!impl) return;
    impl->end_sessions();
    if (impl->options.on_history_change) impl->options.on_history_change();
  });
}

DatabaseSource::~DatabaseSource() {
  impl_->engine->watch_history({});
  impl_->engine->watch_log({});
  impl_->pins->stop();
}

Task<void> DatabaseSource::serve(AcceptedMirror& mirror) {
  auto work = [](std::shared_ptr<Impl> impl, AcceptedMirror& accepted) -> Task<void> {
    auto executor = co_await boost::asio::this_coro::executor;
    const ServedMirror::Shared shared{impl->engine,     impl->verifiable, &impl->ring,
                                      impl->pins.get(), &impl->rates,     &impl->options};
    const auto served = std::make_shared<ServedMirror>(shared, accepted, std::move(executor), impl->engine_executor);
    std::list<std::shared_ptr<ServedMirror>>::iterator place;
    {
      const std::scoped_lock lock(impl->mutex);
      place = impl->served.insert(impl->served.end(), served);
    }
    auto running = ServedMirror::run(served);
    auto ended = co_await std::move(running);
    const std::scoped_lock lock(impl->mutex);
    impl->served.erase(place);
    co_return ended;
  };
  return work(impl_, mirror);
}

void DatabaseSource::end_sessions() { impl_->end_sessions(); }

void DatabaseSource::end_sessions_unless(const std::function<bool(const ServedMirrorFacts&)>& may_stay) {
  for (const auto& one : impl_->now_served()) {
    if (!may_stay(one->facts())) one->end();
  }
}

std::vector<ServedMirrorFacts> DatabaseSource::mirrors() const {
  std::vector<ServedMirrorFacts> facts;
  const std::scoped_lock lock(impl_->mutex);
  for (const auto& one : impl_->served)
    facts.push_back(one->facts());
  return facts;
}

std::uint64_t DatabaseSource::stalled_readers() const { return impl_->rates.stalled; }

std::size_t DatabaseSource::sessions() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->served.size();
}

}  // namespace crosslink
