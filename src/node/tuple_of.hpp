#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace crosslink::node {

/// A coroutine gets an error beside the answer, and not thrown.
constexpr auto tuple_of = boost::asio::as_tuple(boost::asio::use_awaitable);

}  // namespace crosslink::node
