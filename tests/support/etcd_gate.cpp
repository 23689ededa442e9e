#include "support/etcd_gate.hpp"

#include <fmt/format.h>

#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

namespace crosslink::test {
namespace {

namespace wire = etcd::wire;

template <class Request>
class Hook {
 public:
  using Function = std::function<grpc::Status(const Request&)>;
  void set(Function function) {
    const std::scoped_lock lock(mutex_);
    function_ = std::move(function);
  }
  grpc::Status operator()(const Request& request) {
    Function function;
    {
      const std::scoped_lock lock(mutex_);
      function = function_;
    }
    return function ? function(request) : grpc::Status::OK;
  }

 private:
  std::mutex mutex_;
  Function function_;
};

/// Passes a stream on in both directions until either side ends it.
template <class Request, class Response, class Below, class Above>
grpc::Status pass_on(grpc::ServerContext& asked, Below& below, grpc::ClientContext& asking, Above& above) {
  std::jthread requests([&] {
    for (Request request; below.Read(&request);) {
      if (!above.Write(request)) break;
    }
    asking.TryCancel();
  });
  for (Response response; above.Read(&response);) {
    if (!below.Write(response)) break;
  }
  asking.TryCancel();
  asked.TryCancel();
  requests.join();
  return above.Finish();
}

/// Of every call but Status.
class Refusal {
 public:
  void set(const grpc::Status& status) {
    const std::scoped_lock lock(mutex_);
    status_ = status;
  }
  grpc::Status operator()() {
    const std::scoped_lock lock(mutex_);
    return status_;
  }

 private:
  std::mutex mutex_;
  grpc::Status status_;
};

}  // namespace

struct EtcdGate::Services {
  using Context = grpc::ServerContext;

  struct Keys final : etcdserverpb::KV::Service {
    explicit Keys(Refusal& of_all) : refusal(of_all) {}
    grpc::Status Range(Context*, const wire::RangeRequest* request, wire::RangeResponse* response) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      if (auto refused = before_range(*request); !refused.ok()) return refused;
      grpc::ClientContext context;
      return stub->Range(&context, *request, response);
    }
    grpc::Status Txn(Context*, const wire::TxnRequest* request, wire::TxnResponse* response) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      if (auto refused = before_txn(*request); !refused.ok()) return refused;
      grpc::ClientContext context;
      return stub->Txn(&context, *request, response);
    }
    grpc::Status Compact(Context*, const wire::CompactionRequest* request,
                         wire::CompactionResponse* response) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      grpc::ClientContext context;
      return stub->Compact(&context, *request, response);
    }
    Refusal& refusal;
    std::unique_ptr<etcdserverpb::KV::Stub> stub;
    Hook<wire::RangeRequest> before_range;
    Hook<wire::TxnRequest> before_txn;
  };
  struct Watches final : etcdserverpb::Watch::Service {
    explicit Watches(Refusal& of_all) : refusal(of_all) {}
    grpc::Status Watch(Context* asked,
                       grpc::ServerReaderWriter<wire::WatchResponse, wire::WatchRequest>* below) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      grpc::ClientContext context;
      const auto above = stub->Watch(&context);
      return pass_on<wire::WatchRequest, wire::WatchResponse>(*asked, *below, context, *above);
    }
    Refusal& refusal;
    std::unique_ptr<etcdserverpb::Watch::Stub> stub;
  };
  struct Leases final : etcdserverpb::Lease::Service {
    explicit Leases(Refusal& of_all) : refusal(of_all) {}
    grpc::Status LeaseGrant(Context*, const wire::LeaseGrantRequest* request,
                            wire::LeaseGrantResponse* response) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      grpc::ClientContext context;
      return stub->LeaseGrant(&context, *request, response);
    }
    grpc::Status LeaseRevoke(Context*, const wire::LeaseRevokeRequest* request,
                             wire::LeaseRevokeResponse* response) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      grpc::ClientContext context;
      return stub->LeaseRevoke(&context, *request, response);
    }
    grpc::Status LeaseTimeToLive(Context*, const wire::LeaseTimeToLiveRequest* request,
                                 wire::LeaseTimeToLiveResponse* response) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      grpc::ClientContext context;
      return stub->LeaseTimeToLive(&context, *request, response);
    }
    grpc::Status LeaseKeepAlive(
        Context* asked,
        grpc::ServerReaderWriter<wire::LeaseKeepAliveResponse, wire::LeaseKeepAliveRequest>* below) override {
      if (auto refused = refusal(); !refused.ok()) return refused;
      grpc::ClientContext context;
      const auto above = stub->LeaseKeepAlive(&context);
      return pass_on<wire::LeaseKeepAliveRequest, wire::LeaseKeepAliveResponse>(*asked, *below, context, *above);
    }
    Refusal& refusal;
    std::unique_ptr<etcdserverpb::Lease::Stub> stub;
  };
  struct Members final : etcdserverpb::Maintenance::Service {
    grpc::Status Status(Context*, const wire::StatusRequest* request, wire::StatusResponse* response) override {
      grpc::ClientContext context;
      return stub->Status(&context, *request, response);
    }
    std::unique_ptr<etcdserverpb::Maintenance::Stub> stub;
  };

  Refusal refusal;
  Keys keys{refusal};
  Watches watches{refusal};
  Leases leases{refusal};
  Members members;
};

EtcdGate::EtcdGate(const std::string& address) : services_(std::make_unique<Services>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  services_->keys.stub = etcdserverpb::KV::NewStub(channel);
  services_->watches.stub = etcdserverpb::Watch::NewStub(channel);
  services_->leases.stub = etcdserverpb::Lease::NewStub(channel);
  services_->members.stub = etcdserverpb::Maintenance::NewStub(channel);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(&services_->keys);
  builder.RegisterService(&services_->watches);
  builder.RegisterService(&services_->leases);
  builder.RegisterService(&services_->members);
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("a gate before etcd cannot listen");
}

EtcdGate::~EtcdGate() {
  server_->Shutdown(std::chrono::system_clock::now());  // ends the calls that are under way
  server_->Wait();
}

std::string EtcdGate::endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }

void EtcdGate::before_range(std::function<grpc::Status(const wire::RangeRequest&)> hook) {
  services_->keys.before_range.set(std::move(hook));
}
void EtcdGate::before_txn(std::function<grpc::Status(const wire::TxnRequest&)> hook) {
  services_->keys.before_txn.set(std::move(hook));
}

void EtcdGate::refuse_all(const grpc::Status& refusal) { services_->refusal.set(refusal); }

}  // namespace crosslink::test
