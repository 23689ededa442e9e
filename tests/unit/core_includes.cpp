// The map's arrows that no linker sees: headers slip past what each target links.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace crosslink::test {
namespace {

namespace fs = std::filesystem;
const fs::path root = CROSSLINK_SOURCE_DIR;

struct Line {
  std::string where;  ///< path from the root, and number
  std::string text;
};

bool is_cxx(const fs::path& file) {
  static const std::set<std::string> endings = {".cpp", ".hpp", ".cc", ".h", ".ipp"};
  return endings.contains(file.extension().string());
}

std::vector<Line> lines_of(const fs::path& file) {
  std::vector<Line> lines;
  std::ifstream stream(file);
  for (std::string text; std::getline(stream, text);) {
    lines.push_back({fs::relative(file, root).string() + ":" + std::to_string(lines.size() + 1), text});
  }
  return lines;
}

std::vector<Line> lines_below(const fs::path& folder) {
  std::vector<Line> lines;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    if (!entry.is_regular_file() || !is_cxx(entry.path())) continue;
    const auto more = lines_of(entry.path());
    lines.insert(lines.end(), more.begin(), more.end());
  }
  return lines;
}

std::vector<std::string> found_in(const std::vector<Line>& lines, const std::regex& pattern) {
  std::vector<std::string> found;
  for (const auto& line : lines) {
    if (std::regex_search(line.text, pattern)) found.push_back(line.where + ": " + line.text);
  }
  return found;
}

/// Sockets, clocks and threads, included or named. <chrono> stays allowed for durations, its clocks do not.
const std::regex not_for_core(
    R"(boost/asio|asio::|sys/socket\.h|sys/epoll\.h|netinet|netdb\.h|arpa/inet\.h|unistd\.h|pthread)"
    R"(|<(thread|mutex|shared_mutex|condition_variable|future|stop_token|semaphore|latch|barrier|ctime|time\.h|sys/time\.h)>)"
    R"(|std::(thread|jthread|mutex|async|this_thread)|_clock\b|clock_gettime|gettimeofday|msquic|awaitable)");
const std::regex includes_msquic(R"(^\s*#\s*include\s*[<"][^>"]*msquic)");

TEST(Core, names_no_sockets_clocks_or_threads) {
  for (const auto* folder : {"src/wire", "src/session"}) {
    const auto lines = lines_below(folder);
    ASSERT_GT(lines.size(), 300U);
    EXPECT_EQ(found_in(lines, not_for_core), std::vector<std::string>{});
  }
}

/// The public headers that src/wire and src/session reach, directly or through one another.
std::set<std::string> public_headers_of_core() {
  static const std::regex include(R"-(^\s*#\s*include\s*"(crosslink/[^"]+)")-");
  std::set<std::string> headers;
  std::vector<Line> to_read = lines_below("src/wire");
  std::ranges::move(lines_below("src/session"), std::back_inserter(to_read));
  while (!to_read.empty()) {
    const auto line = to_read.back();
    to_read.pop_back();
    std::smatch match;
    if (!std::regex_search(line.text, match, include) || !headers.insert(match[1]).second) continue;
    const auto more = lines_of(root / "include" / match[1].str());
    to_read.insert(to_read.end(), more.begin(), more.end());
  }
  return headers;
}

TEST(Core, reaches_no_sockets_clocks_or_threads_through_public_headers) {
  const auto headers = public_headers_of_core();
  EXPECT_TRUE(headers.contains("crosslink/error.hpp") && headers.contains("crosslink/types.hpp"));
  for (const auto& header : headers) {
    EXPECT_EQ(found_in(lines_of(root / "include" / header), not_for_core), std::vector<std::string>{}) << header;
  }
}

/// Of which other folders of src a folder may include headers: docs/architecture.md, "The map".
const std::map<std::string, std::set<std::string>> arrows = {
    {"wire", {}},
    {"base", {}},
    {"session", {"wire"}},
    {"async", {}},
    {"tls", {"base", "wire"}},
    {"quic", {"async", "tls", "wire"}},
    {"link", {"async", "quic", "session", "wire"}},
    {"replication", {"async", "base", "link", "session", "wire"}},
    {"engine", {"base", "tls", "wire"}},
    {"node", {"async", "base", "engine", "link", "replication", "session", "tls", "wire"}},
    {"cli", {"node", "tls", "wire"}},
};

TEST(Map, lets_each_folder_include_only_what_the_map_says) {
  static const std::regex include(R"-(^\s*#\s*include\s*"([a-z]+)/)-");
  std::size_t checked = 0;
  for (const auto& [folder, may] : arrows) {
    for (const auto& line : lines_below("src/" + folder)) {
      std::smatch match;
      if (!std::regex_search(line.text, match, include)) continue;
      const auto other = match[1].str();
      ++checked;
      EXPECT_TRUE(other == "crosslink" || other == folder || may.contains(other)) << line.where << ": " << line.text;
    }
  }
  EXPECT_GT(checked, 500U);
}

/// The second level: of which folders of src/node each may include headers, besides its own and src/node's own. What
/// lies in src/node itself puts them together, and may include all.
const std::map<std::string, std::set<std::string>> arrows_in_node = {
    {"hosting", {}},
    {"clients", {"hosting"}},
    {"admin", {"hosting"}},
};

TEST(Map, lets_each_folder_of_the_node_include_only_what_the_map_says) {
  static const std::regex include(R"-(^\s*#\s*include\s*"node/([a-z_]+)/)-");
  std::size_t checked = 0;
  for (const auto& entry : fs::directory_iterator(root / "src/node")) {
    if (!entry.is_directory()) continue;
    const auto folder = entry.path().filename().string();
    const auto may = arrows_in_node.find(folder);
    ASSERT_NE(may, arrows_in_node.end()) << "src/node/" << folder << " is not in the map";
    for (const auto& line : lines_below("src/node/" + folder)) {
      std::smatch match;
      if (!std::regex_search(line.text, match, include)) continue;
      const auto other = match[1].str();
      ++checked;
      EXPECT_TRUE(other == folder || may->second.contains(other)) << line.where << ": " << line.text;
    }
  }
  EXPECT_GT(checked, 100U);
}

/// What of `folders` matches `pattern` stands in files whose names begin with `place` only. How often it does there.
std::size_t expect_only_in(const std::string& place, std::initializer_list<fs::path> folders,
                           const std::regex& pattern) {
  std::vector<std::string> elsewhere;
  std::size_t there = 0;
  for (const auto& folder : folders) {
    for (const auto& where : found_in(lines_below(folder), pattern)) {
      if (where.starts_with(place)) {
        ++there;
      } else {
        elsewhere.push_back(where);
      }
    }
  }
  EXPECT_EQ(elsewhere, std::vector<std::string>{});
  return there;
}

TEST(Map, has_one_table_of_exit_codes) {
  static const std::regex defines(R"(\bconstexpr int exit_\w+ *=)");
  EXPECT_EQ(expect_only_in("src/wire/exit_codes.hpp", {"src"}, defines), 7U);
}

TEST(Core, has_deliberate_mistakes_that_nothing_in_the_product_can_switch_on) {
  static const std::regex switches_on(R"(\b(set_mistake|MistakeInForce)\b)");
  EXPECT_GT(expect_only_in("src/session/mistakes.", {"include", "src"}, switches_on), 0U);
}

TEST(Map, lets_only_src_quic_include_msquic) {
  EXPECT_GT(expect_only_in("src/quic/", {"include", "src", "tests", "examples", "fuzz"}, includes_msquic), 0U);
}

TEST(Map, is_there_as_the_documents_say) {
  static const std::regex path(
      R"((^|[^\w/.-])((src|tests|tools|include|cmake|bench|fuzz|examples|findings)/[\w/.-]*\w))");
  std::size_t checked = 0;
  std::vector<fs::path> documents = {root / "README.md"};
  for (const auto& entry : fs::directory_iterator(root / "docs")) {
    if (entry.path().extension() == ".md") documents.push_back(entry.path());
  }
  for (const auto& document : documents) {
    for (const auto& line : lines_of(document)) {
      for (auto found = std::sregex_iterator(line.text.begin(), line.text.end(), path); found != std::sregex_iterator();
           ++found, ++checked) {
        EXPECT_TRUE(fs::exists(root / (*found)[2].str())) << line.where << ": " << (*found)[2].str();
      }
    }
  }
  EXPECT_GT(checked, 50U);
}

TEST(Map, finds_what_it_looks_for) {
  for (const std::string bad :
       {"#include <boost/asio/post.hpp>", "#include <mutex>", "#include <netinet/in.h>",
        "std::chrono::steady_clock::now()", "std::chrono::system_clock", "#include <sys/socket.h>", "#include <thread>",
        "#include <condition_variable>", "#include <future>", "#include <msquic.h>"}) {
    EXPECT_TRUE(std::regex_search(bad, not_for_core)) << bad;
  }
  for (const std::string good : {"#include <chrono>", "std::chrono::milliseconds delay{0};", "next_attempt"}) {
    EXPECT_FALSE(std::regex_search(good, not_for_core)) << good;
  }
  for (const std::string bad : {"#include <msquic.h>", "# include \"msquic.hpp\"", "#include <quic/msquic.h>"}) {
    EXPECT_TRUE(std::regex_search(bad, includes_msquic)) << bad;
  }
}

}  // namespace
}  // namespace crosslink::test
