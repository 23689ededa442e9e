// The threads that make the engines' blocking calls, apart by what the calls are for: what is slow holds up nothing
// that is quick.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace crosslink::node {

/// Threads for one purpose. Work that is posted runs in its order.
class ThreadPool {
 public:
  /// `name`: of its threads, as `top -H` shows them; at most 12 characters. `niceness`: as nice(1); with more than that
  /// of the other threads they give way to these whenever both want a processor.
  ThreadPool(const std::string& name, std::size_t threads, int niceness = 0);
  /// Carries out what was posted, then ends.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  boost::asio::any_io_executor executor() { return context_.get_executor(); }

 private:
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> open_;
  std::vector<std::jthread> threads_;
};

/// Where which call is made.
struct EngineExecutors {
  boost::asio::any_io_executor reads;  ///< clients' reads of few keys
  boost::asio::any_io_executor scans;  ///< what reads many keys, in slices: KEYS, SCAN, DBSIZE, verify
  boost::asio::any_io_executor links;  ///< log, snapshots and applies of databases that are kept here
  boost::asio::any_io_executor files;  ///< opening and closing those, commands about them
  /// Calls to other processes, which may take long to fail: opening, closing and asking what is kept elsewhere. What
  /// such a database does while it is open has threads of its own.
  boost::asio::any_io_executor elsewhere;
};

class EngineThreads {
 public:
  EngineThreads();
  EngineExecutors executors();

 private:
  // Destroyed from the last to the first: jobs of the others post to `elsewhere` and `files` what is to be closed.
  ThreadPool elsewhere_, files_, links_, scans_, reads_;
};

/// Of a database that is kept elsewhere: its calls wait for another process, and keep none of another database waiting.
std::unique_ptr<ThreadPool> own_threads(const std::string& database);

}  // namespace crosslink::node
