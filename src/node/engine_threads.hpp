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

/// How a pool's threads share the processors with the others of the process.
enum class Turns {
  usual,
  prompt,     ///< short ones, soon after something is to be done (Linux from 6.12 on; before that, usual ones)
  left_over,  ///< what the others leave whenever both want a processor, as nice(1)
};

/// Of the thread that calls: `Turns::prompt`. For the one that speaks with clients.
void answer_promptly();

/// Threads for one purpose. Work that is posted runs in its order.
class ThreadPool {
 public:
  /// `name`: of its threads, as `top -H` shows them; at most 12 characters.
  ThreadPool(const std::string& name, std::size_t threads, Turns turns = Turns::usual);
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
  boost::asio::any_io_executor commits;  ///< of what clients write; each database has one turn at a time
  boost::asio::any_io_executor reads;    ///< clients' reads of few keys
  boost::asio::any_io_executor scans;    ///< what reads many keys, in slices: KEYS, SCAN, DBSIZE, verify
  boost::asio::any_io_executor links;    ///< log, snapshots and applies of databases that are kept here
  boost::asio::any_io_executor files;    ///< opening and closing those, commands about them
  /// Calls to other processes, which may take long to fail: opening, closing and asking what is kept elsewhere. What
  /// such a database does while it is open has threads of its own.
  boost::asio::any_io_executor elsewhere;
};

class EngineThreads {
 public:
  EngineThreads();
  EngineExecutors executors();

 private:
  // Destroyed from the last to the first: jobs of the others post to `elsewhere` and `files` what is to be closed, and a
  // database that is closed waits for its last commit.
  ThreadPool commits_, elsewhere_, files_, links_, scans_, reads_;
};

/// Of a database that is kept elsewhere: its calls wait for another process, and keep none of another database waiting.
std::unique_ptr<ThreadPool> own_threads(const std::string& database);

}  // namespace crosslink::node
