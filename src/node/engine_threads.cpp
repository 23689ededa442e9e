#include "node/engine_threads.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace crosslink::node {
namespace {

/// Scans have what the others leave, whatever many ask for them.
constexpr int scan_niceness = 10;
constexpr std::size_t files_threads = 4;
/// They wait, and compute nothing.
constexpr std::size_t elsewhere_threads = 16;
constexpr std::size_t own_threads_count = 4;
constexpr std::size_t thread_name_max = 12;

std::size_t processors(std::size_t least, std::size_t most) {
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), least, most);
}

}  // namespace

ThreadPool::ThreadPool(const std::string& name, std::size_t threads, int niceness) : open_(context_.get_executor()) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name, i, niceness] {
      const auto shown = name.substr(0, thread_name_max) + "/" + std::to_string(i);
      ::pthread_setname_np(::pthread_self(), shown.c_str());
      // Of this thread alone, on Linux. Nobody may be refused to be nicer.
      if (niceness != 0) {
        const auto own = ::getpriority(PRIO_PROCESS, 0);
        static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), own + niceness));
      }
      context_.run();
    });
  }
}

ThreadPool::~ThreadPool() {
  open_.reset();
  threads_.clear();  // awaits their ends
}

EngineThreads::EngineThreads()
    : elsewhere_("elsewhere", elsewhere_threads),
      files_("files", files_threads),
      links_("links", processors(2, 16)),
      scans_("scans", processors(2, 8), scan_niceness),
      reads_("reads", processors(2, 16)) {}

EngineExecutors EngineThreads::executors() {
  return {reads_.executor(), scans_.executor(), links_.executor(), files_.executor(), elsewhere_.executor()};
}

std::unique_ptr<ThreadPool> own_threads(const std::string& database) {
  return std::make_unique<ThreadPool>(database, own_threads_count);
}

}  // namespace crosslink::node
