// The coroutine type of crosslink's asynchronous functions.
//
// Every asynchronous function is `Task<T>`: a Boost.Asio awaitable of Result<T>. Rules that hold for all of them:
//  - it starts when awaited, and whoever awaits it sees its end;
//  - it may be awaited from any executor; it resumes on the awaiting coroutine's executor;
//  - it can be cancelled with Asio's per-operation cancellation (any cancellation_type) and then returns kind
//  Cancelled.
//    As with every Asio operation, a coroutine whose throw_if_cancelled is true (Asio's default) throws
//    boost::system::system_error at its next co_await after a cancellation; set it to false to see the Result instead;
//  - it throws nothing but std::bad_alloc and that;
//  - what waits must have ended, or its Endpoint must be gone, before its execution context is destroyed: declare the
//    io_context first and the Endpoint after it.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "crosslink/result.hpp"

namespace crosslink {

template <class T>
using awaitable = boost::asio::awaitable<T>;

template <class T>
using Task = boost::asio::awaitable<Result<T>>;

}  // namespace crosslink
