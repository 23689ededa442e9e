// Stands between crosslink and a real etcd server, and passes every call on: a test sees each read and each transaction
// before the server does, and may do something first, or answer in its place.
#pragma once

#include <etcd_services.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

namespace crosslink::test {

class EtcdGate {
 public:
  /// `address`: HOST:PORT of the server behind it.
  explicit EtcdGate(const std::string& address);
  ~EtcdGate();
  std::string endpoint() const;

  /// Called on the server's threads. What is not OK is answered, and nothing passed on. Empty: all is passed on.
  void before_range(std::function<grpc::Status(const etcd::wire::RangeRequest&)> hook);
  void before_txn(std::function<grpc::Status(const etcd::wire::TxnRequest&)> hook);
  /// What is not OK answers every call but Status and ends new streams, as a learner does.
  void refuse_all(const grpc::Status& refusal);

 private:
  struct Services;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace crosslink::test
