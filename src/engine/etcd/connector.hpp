// Brings channels back that lost their server.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace crosslink::etcd {

/// gRPC goes on with a connection only while some thread waits in a call; and while a channel is down calls do not
/// wait, they fail. Between calls that come seldom no connection would ever be made: a thread of this waits for it.
/// Thread safe.
class Connector {
 public:
  Connector();
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;
  /// Tries `channel` until it is connected, or no call has wanted it for a while.
  void want(const std::shared_ptr<grpc::Channel>& channel);

 private:
  using Clock = std::chrono::steady_clock;
  struct Wanted {
    std::shared_ptr<grpc::Channel> channel;
    Clock::time_point until;
  };
  void run();
  void watch(Wanted& wanted);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::list<Wanted> wanted_;  ///< each with one operation on the queue
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace crosslink::etcd
