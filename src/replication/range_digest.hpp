// A range's digest for verify, found in slices.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>

#include "crosslink/awaitable.hpp"
#include "session/verify_compare.hpp"

namespace crosslink::replication {

/// The digest of `range` in `view`, which is given up once `view_now` is another. Errors: Storage; Cancelled when it
/// was given up: no caller waits for it then.
Task<core::RangeDigest::Answer> digest_in_slices(boost::asio::any_io_executor executor,
                                                 std::shared_ptr<const DataView> view, core::KeyRange range,
                                                 std::function<std::shared_ptr<const DataView>()> view_now);

}  // namespace crosslink::replication
