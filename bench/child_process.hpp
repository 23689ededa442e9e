// Processes that a benchmark starts.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::bench {

/// Its output comes over a pipe. A parent that is killed outright takes it with it; the destructor stops it.
class ChildProcess {
 public:
  struct End {
    int exit_code = -1;  ///< -1: it was ended by a signal
    std::uint64_t peak_memory_bytes = 0;
  };
  /// `program` as for execvp; `arguments` after its own name. A program that is not there ends with exit_not_found.
  /// Errors: Configuration.
  static Result<ChildProcess> start(const std::string& program, std::vector<std::string> arguments);
  static constexpr int exit_not_found = 127;
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  /// One line of its output, without the end, of 4096 bytes at most; empty when it went first. Blocks.
  std::string read_line();
  /// The reading end of its output, which the caller closes.
  int take_output();
  std::uint64_t resident_bytes() const;
  /// Of all its threads, user and system, since it began.
  std::uint64_t cpu_us() const;
  std::uint64_t threads() const;
  std::uint64_t descriptors() const;
  /// SIGKILL, then wait(). Afterwards stop() does nothing.
  void kill();
  /// Waits for its end. Precondition of both: it was not waited for.
  End wait();
  /// SIGTERM, then wait(). Again: nothing.
  End stop();

 private:
  ChildProcess(pid_t process, int output) : process_(process), output_(output) {}
  pid_t process_;
  int output_;
};

}  // namespace crosslink::bench
