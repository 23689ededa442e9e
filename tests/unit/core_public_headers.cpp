// Public headers stand alone: what they refer to exists, and the examples in their comments, in README.md and in docs/ are
// the text of files that are compiled.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace crosslink::test {
namespace {

namespace fs = std::filesystem;
const fs::path root = CROSSLINK_SOURCE_DIR;

std::string text_of(const fs::path& file) {
  std::ifstream stream(root / file);
  EXPECT_TRUE(stream.good()) << file;
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    lines.push_back(line);
  return lines;
}

/// Files below a folder, from the root on.
std::vector<fs::path> files_below(const fs::path& folder, const std::string& ending) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    if (entry.path().extension() == ending) files.push_back(fs::relative(entry.path(), root));
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// All comments of a file as one line of text.
std::string comments_of(const fs::path& header) {
  static const std::regex comment(R"(//+<? ?(.*)$)");
  std::string all;
  for (const auto& line : lines_of(text_of(header))) {
    std::smatch match;
    if (std::regex_search(line, match, comment)) all += match[1].str() + " ";
  }
  return all;
}

bool has_chapter(const fs::path& document, const std::string& chapter) {
  const auto lines = lines_of(text_of(document));
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
    const auto name = line.find_first_not_of('#');
    return name != 0 && name != std::string::npos && line.substr(name).starts_with(" " + chapter);
  });
}

TEST(PublicHeaders, refer_to_documents_and_chapters_that_exist) {
  static const std::regex reference(R"-((docs/[a-z_]+\.md)((,? (and )?"[^"]+")*))-"), quoted(R"-("([^"]+)")-");
  std::size_t chapters = 0;
  for (const auto& header : files_below("include", ".hpp")) {
    const auto comments = comments_of(header);
    for (std::sregex_iterator found(comments.begin(), comments.end(), reference), end; found != end; ++found) {
      const fs::path document = (*found)[1].str();
      ASSERT_TRUE(fs::exists(root / document)) << header << " names " << document;
      const auto named = (*found)[2].str();
      for (std::sregex_iterator chapter(named.begin(), named.end(), quoted); chapter != end; ++chapter, ++chapters)
        EXPECT_TRUE(has_chapter(document, (*chapter)[1]))
            << header << ": " << document << " has no " << *chapter->begin();
    }
  }
  EXPECT_GT(chapters, 10U);
}

TEST(PublicHeaders, name_no_document_outside_the_repository) {
  static const std::regex elsewhere(R"(\b[Dd]esign,? sections?\b|\bthe design\b)");
  for (const fs::path folder : {"include", "src"}) {
    for (const auto& file : files_below(folder, ".hpp"))
      EXPECT_FALSE(std::regex_search(comments_of(file), elsewhere)) << file;
  }
}

TEST(PublicHeaders, name_the_caller_the_client_or_the_peer_and_not_anybody) {
  static const std::regex anybody(R"(\b([Ww]ho(m)?ever|[Nn]obody|[Ss]omebody)\b)");
  for (const auto& header : files_below("include", ".hpp"))
    EXPECT_FALSE(std::regex_search(comments_of(header), anybody)) << header;
}

using Snippets = std::map<fs::path, std::vector<std::vector<std::string>>>;  // by the file that shows them; lines

std::vector<std::string> without_indent(std::vector<std::string> lines) {
  auto indent = std::string::npos;
  for (const auto& line : lines) {
    if (!line.empty()) indent = std::min(indent, line.find_first_not_of(' '));
  }
  for (auto& line : lines)
    line.erase(0, std::min(indent, line.size()));
  return lines;
}

/// What stands between `// [snippet of FILE]` and `// [end of snippet]` in files that are compiled.
Snippets compiled_snippets() {
  static const std::regex begin(R"(^ *// \[snippet of (\S+)\]$)"), end(R"(^ *// \[end of snippet\]$)");
  auto sources = files_below("examples/snippets", ".cpp");
  sources.emplace_back("tests/package/outside/engine_test.cpp");
  Snippets snippets;
  for (const auto& source : sources) {
    std::vector<std::string>* open = nullptr;
    for (const auto& line : lines_of(text_of(source))) {
      std::smatch match;
      if (std::regex_match(line, match, begin)) {
        EXPECT_EQ(open, nullptr) << source;
        open = &snippets[match[1].str()].emplace_back();
      } else if (std::regex_match(line, end)) {
        *open = without_indent(*open);
        open = nullptr;
      } else if (open != nullptr) {
        open->push_back(line);
      }
    }
    EXPECT_EQ(open, nullptr) << source << " does not end its last snippet";
  }
  return snippets;
}

std::string block_of(const std::vector<std::string>& lines, const std::string& before_each) {
  std::string block;
  for (const auto& line : lines)
    block += before_each + line + "\n";
  return block;
}

TEST(PublicHeaders, show_examples_that_are_compiled) {
  const auto snippets = compiled_snippets();
  EXPECT_GE(snippets.size(), 8U);
  for (const auto& [file, all] : snippets) {
    const auto text = text_of(file);
    for (const auto& lines : all) {
      const bool shown = file.extension() == ".md"
                             ? text.find("```cpp\n" + block_of(lines, "") + "```\n") != std::string::npos
                             : text.find("\n" + block_of(lines, "//   ")) != std::string::npos ||
                                   text.find("\n" + block_of(lines, "///   ")) != std::string::npos;
      EXPECT_TRUE(shown) << file << " does not show, to the letter, what is compiled:\n" << block_of(lines, "  ");
    }
  }
}

TEST(PublicHeaders, show_no_code_that_is_not_compiled) {
  auto snippets = compiled_snippets();
  auto documents = files_below("docs", ".md");
  documents.emplace_back("README.md");
  for (const auto& document : documents) {
    const auto lines = lines_of(text_of(document));
    EXPECT_EQ(std::count(lines.begin(), lines.end(), "```cpp"), std::ssize(snippets[document])) << document;
  }
  static const std::regex code(R"(^///?   ( *\S.*;)( *//.*)?$)");
  for (const auto& header : files_below("include", ".hpp")) {
    std::set<std::string> known;
    for (const auto& snippet : snippets[header])
      known.insert(snippet.begin(), snippet.end());
    for (const auto& line : lines_of(text_of(header))) {
      if (!std::regex_match(line, code)) continue;
      EXPECT_TRUE(known.contains(line.substr(line.find("   ") + 3))) << header << ": " << line;
    }
  }
}

}  // namespace
}  // namespace crosslink::test
