// The transport library's function table and owned handles. Only src/quic includes this.
#pragma once

#include <msquic.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

namespace crosslink::quic::detail {

/// Counts open handles, and connections that are being closed, so that an endpoint can wait for them with a bound.
class OpenHandles : public std::enable_shared_from_this<OpenHandles> {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  void opened() {
    const std::scoped_lock lock(mutex_);
    ++count_;
  }
  void closed() {
    const std::scoped_lock lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  /// Counts as closing for as long as the token lives.
  std::shared_ptr<void> closing() {
    const std::scoped_lock lock(mutex_);
    ++closing_count_;
    return {nullptr, [self = shared_from_this()](void*) {
              const std::scoped_lock end_lock(self->mutex_);
              if (--self->closing_count_ == 0) self->none_.notify_all();
            }};
  }
  bool wait_for_none(Deadline deadline) {
    std::unique_lock lock(mutex_);
    return none_.wait_until(lock, deadline, [this] { return count_ == 0; });
  }
  void wait_for_none_closing(Deadline deadline) {
    std::unique_lock lock(mutex_);
    none_.wait_until(lock, deadline, [this] { return closing_count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  std::size_t count_ = 0, closing_count_ = 0;
};

/// The function table of one endpoint and the count of what was made with it. A value: copies are cheap. It owns
/// nothing; the table is valid while the endpoint, or any handle made with it, lives.
struct Api {
  const QUIC_API_TABLE* table = nullptr;
  std::shared_ptr<OpenHandles> open_handles;
  const QUIC_API_TABLE* operator->() const { return table; }
};

/// One transport handle, closed when the last user lets go. API calls hold a copy while they run, so a handle is never
/// closed under a call on another thread, and a callback never waits for one.
class Handle {
 public:
  using Close = void (*)(const QUIC_API_TABLE&, HQUIC);
  /// `parent` is closed after this: a stream's handle needs its connection's.
  Handle(Api api, HQUIC raw, Close close, std::shared_ptr<Handle> parent = {})
      : api_(std::move(api)), raw_(raw), close_(close), parent_(std::move(parent)) {
    api_.open_handles->opened();
  }
  ~Handle() {
    close_(*api_.table, raw_);
    api_.open_handles->closed();
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  HQUIC raw() const { return raw_; }
  const Api& api() const { return api_; }

 private:
  Api api_;
  HQUIC raw_;
  Close close_;
  std::shared_ptr<Handle> parent_;
};
using HandlePointer = std::shared_ptr<Handle>;

inline HandlePointer connection_handle(Api api, HQUIC raw) {
  return std::make_shared<Handle>(std::move(api), raw,
                                  [](const QUIC_API_TABLE& table, HQUIC handle) { table.ConnectionClose(handle); });
}
inline HandlePointer stream_handle(Api api, HQUIC raw, HandlePointer connection) {
  return std::make_shared<Handle>(
      std::move(api), raw, [](const QUIC_API_TABLE& table, HQUIC handle) { table.StreamClose(handle); },
      std::move(connection));
}
inline HandlePointer configuration_handle(Api api, HQUIC raw) {
  return std::make_shared<Handle>(std::move(api), raw,
                                  [](const QUIC_API_TABLE& table, HQUIC handle) { table.ConfigurationClose(handle); });
}
inline HandlePointer listener_handle(Api api, HQUIC raw) {
  return std::make_shared<Handle>(std::move(api), raw,
                                  [](const QUIC_API_TABLE& table, HQUIC handle) { table.ListenerClose(handle); });
}

}  // namespace crosslink::quic::detail
