// What others write to a mirror's keys, and how it is noticed.
#include <grpcpp/grpcpp.h>

#include <string>

#include "crosslink/testing/engine_steps.hpp"
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

class EtcdExternalWrites : public EtcdMirror {
 protected:
  /// Returns when it is done, not only asked for.
  void compact_whole(std::int64_t to) const {
    const auto address = servers.endpoints().front().substr(std::string("http://").size());
    const auto stub = etcdserverpb::KV::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    etcd::wire::CompactionRequest request;
    request.set_revision(to);
    request.set_physical(true);
    etcd::wire::CompactionResponse response;
    const auto status = stub->Compact(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
};

TEST_F(EtcdExternalWrites, a_delete_at_the_very_revision_that_was_compacted_does_not_go_unnoticed) {
  open();
  bootstrap(many_keys(10), Lsn{10});
  gate.refuse_all(grpc::Status(grpc::StatusCode::UNAVAILABLE, "for the test"));
  erase(key_of(3));
  compact_whole(revision());
  gate.refuse_all(grpc::Status::OK);
  // Either etcd still tells the delete, or the mirror says that it cannot tell.
  eventually([&] {
    return mirror->counters().external_writes == 1 ||
           mirror->detail().find("may have gone unnoticed") != std::string::npos;
  });
  // It is not taken back by what comes after.
  must(apply({{Operation::put("/registry/a", "1")}}));
  EXPECT_FALSE(mirror->detail().empty());
}

}  // namespace
}  // namespace crosslink::test
