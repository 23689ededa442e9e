#include "node/hosting/counted_mirrors.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <exception>
#include <stdexcept>

#include "base/files.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr std::uint64_t file_bytes_max = 1024ull * 1024;

}  // namespace

Result<CountedMirrors> read_counted_mirrors(const std::filesystem::path& file, const base::Files& files) {
  const auto text = files.read_text(file, file_bytes_max);
  if (!text) return text.error();
  CountedMirrors counted;
  if (text->empty()) return counted;
  try {
    const auto parsed = json::parse(*text);
    for (const auto& one : parsed.as_array()) {
      const auto& mirror = one.as_object();
      const auto id = detail::from_hex(std::string_view(mirror.at("id").as_string()));
      if (!id) throw std::invalid_argument("id");
      counted[std::string(mirror.at("name").as_string())] = {std::string(mirror.at("database").as_string()), {*id}};
    }
  } catch (const std::exception&) {  // boost::json throws; what it says is of its own sources
    return MirrorError::configuration(fmt::format("{} is damaged", file.string()));
  }
  return counted;
}

Result<void> write_counted_mirrors(const std::filesystem::path& file, const CountedMirrors& counted,
                                   const base::Files& files) {
  json::array written;
  for (const auto& [name, mirror] : counted)
    written.push_back(json::object{{"name", name}, {"database", mirror.database}, {"id", to_string(mirror.id)}});
  return files.replace(file, json::serialize(written));
}

}  // namespace crosslink::node
