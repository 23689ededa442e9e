// The coroutine type of crosslink's asynchronous functions.
//
// Every asynchronous function is `Task<T>`: a Boost.Asio awaitable of Result<T>. Rules that hold for all of them:
//
//  start         It starts when it is awaited, once. Its arguments by value are moved in; what it takes by reference,
//                and the object it belongs to, must live until it has ended, unless its comment says otherwise.
//  thread        It may be awaited on any executor, and resumes on the awaiting coroutine's executor.
//  cancellation  It can be cancelled with Asio's per-operation cancellation, of any cancellation_type, and then returns
//                the kind Cancelled (caused by us). What has come about at that moment is returned all the same. Each
//                function says under "Cancelled:" what is left of its work then; "nothing is lost" means that the call
//                can be made again as if it had not been made.
//                As with every Asio operation, a coroutine whose throw_if_cancelled is true (Asio's default) throws
//                boost::system::system_error at its next co_await after a cancellation; set it to false, by
//                `co_await boost::asio::this_coro::throw_if_cancelled(false)`, to see the Result instead.
//  exceptions    It throws nothing but std::bad_alloc and the above.
//  end           What waits must have ended, or its Endpoint must be gone, before its execution context is destroyed:
//                declare the io_context first and the Endpoint after it.
//
// g++ 12 miscompiles some uses of co_await, all of which have a plain way around: name the awaited value, and every
// aggregate that is passed to an awaited call, in a statement of its own (docs/hacking.md, "Build presets").
#pragma once

#include <boost/asio/awaitable.hpp>

#include "crosslink/result.hpp"

namespace crosslink {

/// A coroutine that cannot fail.
template <class T>
using awaitable = boost::asio::awaitable<T>;

/// A coroutine that ends with a value or a MirrorError.
template <class T>
using Task = boost::asio::awaitable<Result<T>>;

}  // namespace crosslink
