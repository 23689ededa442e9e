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

void add_certs_verb(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<Options>();
  auto* certs = app.add_subcommand("certs", "Make certificates for clusters that have no authority of their own");
  certs->require_subcommand(0, 1);
  certs->footer("Example:\n  crosslink certs init --dir certs\n  crosslink certs issue --dir certs --name prod-us");

  auto* init_verb = certs->add_subcommand("init", "Make a certificate authority: ca.pem and ca.key");
  init_verb->add_option("--dir", options->dir, "Folder for the files, made if it is missing")
      ->required()
      ->type_name("DIR");
  init_verb->add_flag("--force", options->force, "Replace existing files");
  init_verb->footer("Example:\n  crosslink certs init --dir certs");
  init_verb->callback([&globals, options] { globals.run = [&globals, options] { return init(globals, *options); }; });

  auto* issue_verb =
      certs->add_subcommand("issue", "Make a cluster's certificate and key: CLUSTER_ID.pem and CLUSTER_ID.key");
  issue_verb->add_option("--dir", options->dir, "Folder with the authority's files")->required()->type_name("DIR");
  issue_verb->add_option("--name", options->name, "The cluster's id, a lower-case DNS name")
      ->required()
      ->type_name("CLUSTER_ID");
  issue_verb->add_option("--also", options->also, "A further DNS name; may be given again")
      ->type_name("DNSNAME")
      ->allow_extra_args(false);
  issue_verb->add_flag("--force", options->force, "Replace existing files");
  issue_verb->footer("Example:\n  crosslink certs issue --dir certs --name prod-us --also prod-us.example.com");
  issue_verb->callback([&globals, options] { globals.run = [&globals, options] { return issue(globals, *options); }; });
}

}  // namespace crosslink::cli
