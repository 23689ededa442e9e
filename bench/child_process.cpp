#include "bench/child_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

namespace crosslink::bench {
namespace {

constexpr std::size_t line_bytes_max = 4096;

pid_t spawn(const std::string& program, std::vector<std::string>& arguments, int output) {
  std::vector<char*> raw;
  raw.reserve(arguments.size() + 1);
  for (auto& argument : arguments)
    raw.push_back(argument.data());
  raw.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(output, STDOUT_FILENO);
    ::execvp(program.c_str(), raw.data());
    ::_exit(ChildProcess::exit_not_found);
  }
  return process;
}

/// How many entries a folder has; 0 when it cannot be read.
std::uint64_t entries_of(const std::filesystem::path& folder) {
  std::uint64_t entries = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator one(folder, error), end; !error && one != end; one.increment(error))
    ++entries;
  return entries;
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::string& program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program.substr(program.rfind('/') + 1));
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return MirrorError::configuration("cannot make a pipe to a process");
  const auto process = spawn(program, arguments, pipe[1]);
  ::close(pipe[1]);
  if (process > 0) return ChildProcess(process, pipe[0]);
  ::close(pipe[0]);
  return MirrorError::configuration(fmt::format("cannot start a process for {}", program));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : process_(std::exchange(other.process_, 0)), output_(std::exchange(other.output_, -1)) {}

ChildProcess::~ChildProcess() {
  stop();
  if (output_ >= 0) ::close(output_);
}

std::string ChildProcess::read_line() {
  std::string line;
  char one = 0;
  while (line.size() < line_bytes_max) {
    const auto read = ::read(output_, &one, 1);
    if (read < 0 && errno == EINTR) continue;
    if (read != 1 || one == '\n') break;
    line.push_back(one);
  }
  return line;
}

int ChildProcess::take_output() { return std::exchange(output_, -1); }

std::uint64_t ChildProcess::resident_bytes() const {
  std::ifstream file(fmt::format("/proc/{}/statm", process_));
  std::uint64_t pages_in_all = 0, pages_resident = 0;
  file >> pages_in_all >> pages_resident;
  return pages_resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t ChildProcess::cpu_us() const {
  std::ifstream file(fmt::format("/proc/{}/stat", process_));
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i)
    fields >> skipped;
  std::uint64_t user_ticks = 0, system_ticks = 0;
  fields >> user_ticks >> system_ticks;
  return (user_ticks + system_ticks) * 1'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
}

std::uint64_t ChildProcess::threads() const { return entries_of(fmt::format("/proc/{}/task", process_)); }

std::uint64_t ChildProcess::descriptors() const { return entries_of(fmt::format("/proc/{}/fd", process_)); }

void ChildProcess::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  wait();
}

ChildProcess::End ChildProcess::wait() {
  rusage usage{};
  int status = 0;
  while (::wait4(process_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  process_ = 0;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, static_cast<std::uint64_t>(usage.ru_maxrss) * 1024};
}

ChildProcess::End ChildProcess::stop() {
  if (process_ <= 0) return {};
  ::kill(process_, SIGTERM);
  return wait();
}

}  // namespace crosslink::bench
