// Two network namespaces joined by an emulated long line, in user space over TUN devices: kernels without netem, fair
// to TCP and UDP.
//
//   long_line NAME --rtt-ms 100 --loss 0.01 --rate-mbit 500 [--queue-ms 100] [--jitter-ms 0]
//
// NAME-a has 10.77.0.1, NAME-b 10.77.0.2; run programs with `ip netns exec NAME-a ...`. Prints "ready", forwards until
// its standard input ends, and removes both namespaces. Lines on standard input: "loss 0.05", "down", "up". Needs root
// and iproute2.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Options = std::map<std::string, double>;

volatile std::sig_atomic_t stopping = 0;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "long_line: %s\n", what.c_str());
  std::exit(1);
}

void command(const std::string& text) {
  if (std::system(text.c_str()) != 0) fail("this failed: " + text);
}

Clock::duration milliseconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(value));
}

/// A namespace with one TUN device; our end of it.
int open_end(const std::string& space, const std::string& address) {
  command("ip netns add " + space + " && ip -n " + space + " link set lo up");
  const int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  const int there = open(("/var/run/netns/" + space).c_str(), O_RDONLY | O_CLOEXEC);
  if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) fail("cannot enter the namespace " + space);
  const int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  std::strcpy(request.ifr_name, "line0");
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (device < 0 || ioctl(device, TUNSETIFF, &request) != 0) fail("cannot make a TUN device");
  if (setns(here, CLONE_NEWNET) != 0) fail("cannot leave the namespace " + space);
  close(here);
  close(there);
  command("ip -n " + space + " addr add " + address + "/24 dev line0 && ip -n " + space +
          " link set line0 up txqueuelen 4000 mtu 1500");
  return device;
}

struct Packet {
  Clock::time_point due;
  std::vector<unsigned char> bytes;
};

/// One direction: a packet waits for the line to be free, then travels half a round trip.
class Direction {
 public:
  Direction(int from, int to, const Options& options) : from_(from), to_(to), options_(options) {}

  void take_in(bool down, std::mt19937_64& random) {
    std::uniform_real_distribution<double> chance(0, 1);
    constexpr int packets_at_once = 256;
    for (int i = 0; i < packets_at_once; ++i) {
      const auto size = read(from_, buffer_.data(), buffer_.size());
      if (size <= 0) return;
      const bool ipv4 = buffer_[0] >> 4 == 4;
      if (!ipv4 || down || chance(random) < options_.at("loss")) continue;
      const auto now = Clock::now();
      auto departs = std::max(now, line_free_);
      if (options_.at("rate-mbit") > 0) {
        if (departs - now > milliseconds(options_.at("queue-ms"))) continue;  // the queue is full
        departs += milliseconds(static_cast<double>(size) * 8e-3 / options_.at("rate-mbit"));
        line_free_ = departs;
      }
      auto due = departs + milliseconds(options_.at("rtt-ms") / 2 + chance(random) * options_.at("jitter-ms"));
      if (!queue_.empty()) due = std::max(due, queue_.back().due);  // delayed, never reordered
      queue_.push_back({due, {buffer_.begin(), buffer_.begin() + size}});
    }
  }

  /// Lets out what is due; when to come back.
  Clock::time_point let_out(Clock::time_point now) {
    while (!queue_.empty() && queue_.front().due <= now) {
      // A full device queue is one more loss.
      if (write(to_, queue_.front().bytes.data(), queue_.front().bytes.size()) < 0) ++refused_;
      queue_.pop_front();
    }
    return queue_.empty() ? Clock::time_point::max() : queue_.front().due;
  }

 private:
  int from_, to_;
  const Options& options_;
  std::array<unsigned char, 65536> buffer_{};
  std::deque<Packet> queue_;
  Clock::time_point line_free_{};
  std::size_t refused_ = 0;
};

/// A line of standard input; false at its end.
bool obey(Options& options, bool& down) {
  std::array<char, 256> line{};
  if (read(STDIN_FILENO, line.data(), line.size() - 1) <= 0) return false;
  double value = 0;
  if (std::sscanf(line.data(), "loss %lf", &value) == 1) options["loss"] = value;
  if (std::strncmp(line.data(), "down", 4) == 0) down = true;
  if (std::strncmp(line.data(), "up", 2) == 0) down = false;
  return true;
}

void forward(int a, int b, Options& options) {
  std::mt19937_64 random(7);
  std::array<Direction, 2> directions{Direction(a, b, options), Direction(b, a, options)};
  bool down = false;
  while (stopping == 0) {
    const auto now = Clock::now();
    auto next = now + milliseconds(20);
    for (auto& direction : directions)
      next = std::min(next, direction.let_out(now));
    const auto wait = std::max(next - Clock::now(), Clock::duration::zero());
    const timespec timeout{0, static_cast<long>(std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count())};
    std::array<pollfd, 3> polled{{{a, POLLIN, 0}, {b, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
    ppoll(polled.data(), polled.size(), &timeout, nullptr);
    if (polled[2].revents != 0 && !obey(options, down)) return;
    for (std::size_t i = 0; i < directions.size(); ++i) {
      if (polled[i].revents & POLLIN) directions[i].take_in(down, random);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("usage: see the head of bench/long_line.cpp");
  const std::string name = argv[1];
  Options options{{"rtt-ms", 100}, {"jitter-ms", 0}, {"loss", 0}, {"rate-mbit", 0}, {"queue-ms", 100}};
  for (int i = 2; i + 1 < argc; i += 2)
    options[argv[i] + 2] = std::atof(argv[i + 1]);
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGINT, [](int) { stopping = 1; });
  const int a = open_end(name + "-a", "10.77.0.1");
  const int b = open_end(name + "-b", "10.77.0.2");
  std::puts("ready");
  std::fflush(stdout);
  forward(a, b, options);
  close(a);
  close(b);
  command("ip netns del " + name + "-a; ip netns del " + name + "-b");
  return 0;
}
