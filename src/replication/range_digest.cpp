#include "replication/range_digest.hpp"

#include <optional>
#include <utility>

#include "async/slices.hpp"

namespace crosslink::replication {
namespace {

struct Digesting {
  Digesting(std::shared_ptr<const DataView> view, core::KeyRange range) : digester(std::move(view), std::move(range)) {}
  core::RangeDigester digester;
  std::optional<MirrorError> error;
};

}  // namespace

Task<core::RangeDigest::Answer> digest_in_slices(boost::asio::any_io_executor executor,
                                                 std::shared_ptr<const DataView> view, core::KeyRange range,
                                                 std::function<std::shared_ptr<const DataView>()> view_now) {
  const auto digesting = std::make_shared<Digesting>(view, std::move(range));
  auto slice = [digesting] {
    async::SliceClock clock;
    const auto done = digesting->digester.go_on([&clock](std::size_t bytes) { return clock.is_over(bytes); });
    if (!done) digesting->error = done.error();
    return !done || *done;
  };
  auto is_wanted = [&view, &view_now] { return view_now() == view; };
  auto slicing = async::call_in_slices(std::move(executor), std::move(slice), std::move(is_wanted));
  const bool carried_through = co_await std::move(slicing);
  if (!carried_through) co_return MirrorError::cancelled("a verify");
  if (digesting->error) co_return *digesting->error;
  co_return digesting->digester.answer();
}

}  // namespace crosslink::replication
