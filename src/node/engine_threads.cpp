#include "node/engine_threads.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace crosslink::node {
namespace {

/// Scans have what the others leave, whatever many ask for them.
constexpr int scan_niceness = 10;
constexpr std::size_t files_threads = 4;
/// They wait, and compute nothing.
constexpr std::size_t elsewhere_threads = 16;
constexpr std::size_t own_threads_count = 4;
constexpr std::size_t thread_name_max = 12;

/// Linux from 6.12 on lets a thread that wakes and asks for short turns interrupt one that asked for longer ones, as
/// scans do; the least that it takes is 0.1 ms. An older one ignores this.
constexpr std::uint64_t prompt_turn_ns = 100'000;

/// sched_setattr(2)'s sched_attr, its first version: Debian's headers of it and of pthread exclude each other.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;
};

/// Of the thread that calls: how long its turns on a processor are; 0: the system's.
void set_turn(std::uint64_t nanoseconds) {
  SchedulingAttributes wanted;
  wanted.nice = ::getpriority(PRIO_PROCESS, 0);
  wanted.runtime = nanoseconds;
  // A system that refuses it (a sandbox) costs promptness only.
  static_cast<void>(::syscall(SYS_sched_setattr, 0, &wanted, 0));
}

std::size_t processors(std::size_t least, std::size_t most) {
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), least, most);
}

}  // namespace

void answer_promptly() { set_turn(prompt_turn_ns); }

ThreadPool::ThreadPool(const std::string& name, std::size_t threads, Turns turns) : open_(context_.get_executor()) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name, i, turns] {
      const auto shown = name.substr(0, thread_name_max) + "/" + std::to_string(i);
      ::pthread_setname_np(::pthread_self(), shown.c_str());
      // Of this thread alone, on Linux. Any thread may make itself nicer.
      if (turns == Turns::left_over) {
        const auto own = ::getpriority(PRIO_PROCESS, 0);
        static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), own + scan_niceness));
      }
      set_turn(turns == Turns::prompt ? prompt_turn_ns : 0);
      context_.run();
    });
  }
}

ThreadPool::~ThreadPool() {
  open_.reset();
  threads_.clear();  // awaits their ends
}

EngineThreads::EngineThreads()
    : commits_("commits", processors(4, 8)),
      elsewhere_("elsewhere", elsewhere_threads),
      files_("files", files_threads),
      links_("links", processors(2, 16)),
      scans_("scans", processors(2, 8), Turns::left_over),
      reads_("reads", processors(2, 16), Turns::prompt) {}

EngineExecutors EngineThreads::executors() {
  return {commits_.executor(), reads_.executor(), scans_.executor(),
          links_.executor(),   files_.executor(), elsewhere_.executor()};
}

std::unique_ptr<ThreadPool> own_threads(const std::string& database) {
  return std::make_unique<ThreadPool>(database, own_threads_count);
}

}  // namespace crosslink::node
