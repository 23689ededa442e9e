# Headers of others that most files of a folder need, parsed once for all targets that use the set. A file still includes
# what it uses: a set only saves time, and tests/package compiles every public header without one.
option(CROSSLINK_PRECOMPILED "parse the headers of libraries once for each group of targets" ON)

# crosslink_precompiled(async HEADERS <a> <b> LINKS fmt::fmt): a set. What uses it must be compiled with the same options
# and see the same definitions of these libraries; the compiler refuses it otherwise (-Winvalid-pch is an error here).
function(crosslink_precompiled name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINKS" ${ARGN})
  if(NOT CROSSLINK_PRECOMPILED)
    return()
  endif()
  set(empty "${CMAKE_BINARY_DIR}/precompiled/${name}.cpp")
  file(CONFIGURE OUTPUT "${empty}" CONTENT "// Only here so that there is a target.\n" @ONLY)
  add_library(crosslink_precompiled_${name} OBJECT "${empty}")
  target_link_libraries(crosslink_precompiled_${name} PRIVATE crosslink_options ${ARG_LINKS})
  target_precompile_headers(crosslink_precompiled_${name} PRIVATE ${ARG_HEADERS})
endfunction()

# crosslink_use_precompiled(async TARGET...)
function(crosslink_use_precompiled name)
  if(CROSSLINK_PRECOMPILED)
    foreach(target IN LISTS ARGN)
      target_precompile_headers(${target} REUSE_FROM crosslink_precompiled_${name})
    endforeach()
  endif()
endfunction()

set(standard_headers
  <algorithm> <array> <chrono> <compare> <cstddef> <cstdint> <cstring> <deque> <expected> <filesystem> <functional> <limits>
  <list> <map> <memory> <mutex> <optional> <random> <ranges> <set> <span> <sstream> <string> <string_view> <unordered_map>
  <utility> <variant> <vector> <fmt/format.h>)
set(asio_headers
  <boost/asio/any_io_executor.hpp> <boost/asio/associated_cancellation_slot.hpp> <boost/asio/associated_executor.hpp>
  <boost/asio/async_result.hpp> <boost/asio/awaitable.hpp> <boost/asio/bind_cancellation_slot.hpp>
  <boost/asio/cancellation_signal.hpp> <boost/asio/cancellation_state.hpp> <boost/asio/co_spawn.hpp>
  <boost/asio/deferred.hpp> <boost/asio/detached.hpp> <boost/asio/dispatch.hpp> <boost/asio/experimental/awaitable_operators.hpp>
  <boost/asio/experimental/parallel_group.hpp> <boost/asio/io_context.hpp> <boost/asio/ip/tcp.hpp> <boost/asio/ip/udp.hpp>
  <boost/asio/post.hpp> <boost/asio/prefer.hpp> <boost/asio/redirect_error.hpp> <boost/asio/signal_set.hpp>
  <boost/asio/steady_timer.hpp> <boost/asio/strand.hpp> <boost/asio/this_coro.hpp> <boost/asio/thread_pool.hpp>
  <boost/asio/use_awaitable.hpp>)

crosslink_precompiled(standard HEADERS ${standard_headers} LINKS fmt::fmt)
crosslink_precompiled(async HEADERS ${standard_headers} ${asio_headers} LINKS fmt::fmt Boost::headers Threads::Threads)
crosslink_precompiled(program HEADERS ${standard_headers} ${asio_headers} <boost/json.hpp>
  LINKS fmt::fmt Boost::headers Threads::Threads)
