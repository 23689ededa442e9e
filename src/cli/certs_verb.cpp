#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "tls/certificate_authority.hpp"

namespace crosslink::cli {
namespace {

struct Options {
  std::string dir;
  std::string name;
  std::vector<std::string> also;
  bool force = false;
};

boost::json::object files(const std::filesystem::path& dir, const std::string& name) {
  return {{"certificate", (dir / (name + ".pem")).string()}, {"key", (dir / (name + ".key")).string()}};
}

int init(const Globals& globals, const Options& options) {
  if (auto made = tls::make_authority(options.dir, options.force); !made) return report_error(globals, made.error());
  auto fields = files(options.dir, "ca");
  const auto text = fmt::format("made the CA {} and its key {}: keep the key to yourself",
                                fields["certificate"].as_string().c_str(), fields["key"].as_string().c_str());
  return report_good(globals, std::move(fields), text);
}

int issue(const Globals& globals, const Options& options) {
  auto made = tls::issue(options.dir, options.name, options.also, options.force);
  if (!made) return report_error(globals, made.error());
  auto fields = files(options.dir, options.name);
  boost::json::array names{options.name};
  for (const auto& one : options.also)
    names.emplace_back(one);
  fields["names"] = std::move(names);
  const auto text = fmt::format("made {} and its key {}", fields["certificate"].as_string().c_str(),
                                fields["key"].as_string().c_str());
  return report_good(globals, std::move(fields), text);
}

}  // namespace

void add_certs_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto certs = program.add("certs", "Make certificates for clusters that have no authority of their own");
  certs.footer("Example:\n  crosslink certs init --dir certs\n  crosslink certs issue --dir certs --name prod-us");

  const auto init_verb = certs.add("init", "Make a certificate authority: ca.pem and ca.key");
  init_verb.option("--dir", options->dir, "Folder for the files, made if it is missing").required().type("DIR");
  init_verb.flag("--force", options->force, "Replace existing files");
  init_verb.footer("Example:\n  crosslink certs init --dir certs");
  init_verb.run([options](const Globals& globals) { return init(globals, *options); });

  const auto issue_verb = certs.add("issue", "Make a cluster's certificate and key: CLUSTER_ID.pem and CLUSTER_ID.key");
  issue_verb.option("--dir", options->dir, "Folder with the authority's files").required().type("DIR");
  issue_verb.option("--name", options->name, "The cluster's id, a lower-case DNS name").required().type("CLUSTER_ID");
  issue_verb.repeated("--also", options->also, "A further DNS name; may be given again").type("DNSNAME");
  issue_verb.flag("--force", options->force, "Replace existing files");
  issue_verb.footer("Example:\n  crosslink certs issue --dir certs --name prod-us --also prod-us.example.com");
  issue_verb.run([options](const Globals& globals) { return issue(globals, *options); });
}

}  // namespace crosslink::cli
