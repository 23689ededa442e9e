// The transport library's function table and owned handles. Only src/quic includes this.
#pragma once

#include <msquic.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

namespace crosslink::quic::detail {

/// Counts open handles, so that an endpoint can wait for them with a bound.
class OpenHandles {
 public:
  void opened() {
    const std::scoped_lock lock(mutex_);
    ++count_;
  }
  void closed() {
    const std::scoped_lock lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  bool wait_for_none(std::chrono::milliseconds longest) {
    std::unique_lock lock(mutex_);
    return none_.wait_for(lock, longest, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  std::size_t count_ = 0;
};

/// The function table of one endpoint and the count of what was made with it. A value: copies are cheap. It owns nothing; the
/// table is valid while the endpoint, or any handle made with it, lives.
struct Api {
  const QUIC_API_TABLE* table = nullptr;
  std::shared_ptr<OpenHandles> open_handles;
  const QUIC_API_TABLE* operator->() const { return table; }
};

/// One transport handle, closed when the last user lets go. API calls hold a copy while they run, so a handle is never closed
/// under a call on another thread, and a callback never waits for one.
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
      std::move(api), raw, [](const QUIC_API_TABLE& table, HQUIC handle) { table.StreamClose(handle); }, std::move(connection));
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
