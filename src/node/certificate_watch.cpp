#include "node/certificate_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "crosslink/types.hpp"
#include "node/hosting/private_files.hpp"
#include "node/log.hpp"
#include "node/text.hpp"
#include "tls/credentials.hpp"

namespace crosslink::node {
namespace {

using Time = std::chrono::system_clock::time_point;

constexpr std::string_view node_role = "node";
constexpr std::chrono::hours warned_every(24);

std::string key_of(const CertificateSet& set) { return set.role + "/" + set.database; }

std::string stamp_of(const CertificateSet& set) {
  std::string stamp;
  for (const auto* file : {&set.ca, &set.cert, &set.key, &set.password_file})
    stamp += fmt::format("{}={}|", file->string(), file->empty() ? std::string() : tls::stamp_of_file(*file));
  return stamp;
}

std::vector<CertificateFacts> files_of(const CertificateSet& set) {
  std::vector<CertificateFacts> files;
  const auto add = [&](std::string role, const std::filesystem::path& file, tls::CertificateUse use) {
    if (file.empty()) return;
    const auto last = tls::not_after_of_file(file, use);
    files.push_back({std::move(role), set.database, file, last ? std::optional(*last) : std::nullopt, {}});
  };
  add(set.role, set.cert, tls::CertificateUse::own);
  add(set.role + "_ca", set.ca, tls::CertificateUse::authority);
  if (!set.password_file.empty())
    files.push_back({set.role + "_password", set.database, set.password_file, std::nullopt, {}});
  return files;
}

std::vector<LogField> fields_of(const CertificateFacts& one) {
  std::vector<LogField> fields{{"role", one.role}, {"file", one.file.string()}};
  if (!one.database.empty()) fields.emplace_back("database", one.database);
  if (one.not_after) fields.emplace_back("not_after", utc_text(*one.not_after));
  return fields;
}

}  // namespace

CertificateSet certificate_set_of(const quic::TlsFiles& tls, const std::string& cluster_id) {
  return {std::string(node_role), {}, tls.ca, tls.cert, tls.key, {}, cluster_id};
}

CertificateSet certificate_set_of(const std::string& database, const EtcdCluster& cluster) {
  return {"etcd", database, cluster.ca_file, cluster.cert_file, cluster.key_file, cluster.password_file, {}};
}

Result<void> check_certificates(const CertificateSet& set) {
  const auto usable = set.own_name.empty() ? tls::check_client_credentials(set.ca, set.cert, set.key)
                                           : tls::check_credentials(set.ca, set.cert, set.key);
  if (!usable) return usable.error();
  if (!set.key.empty()) {
    if (auto good = check_private(set.key); !good) return good;
  }
  if (!set.password_file.empty()) {
    if (auto password = read_password(set.password_file); !password) return password.error();
  }
  if (set.own_name.empty()) return {};
  const auto names = tls::dns_names_of_file(set.cert);
  if (!names) return names.error();
  const auto is_own = [&set](const std::string& name) { return equal_ignoring_case(name, set.own_name); };
  if (std::ranges::any_of(*names, is_own)) return {};
  return MirrorError::configuration(fmt::format(
      "the certificate in '{}' is for {}, not for the cluster id '{}': give the one made for it, or make one with "
      "`crosslink certs issue --name {}`",
      escape(set.cert.string()), joined(*names, ", "), set.own_name, set.own_name));
}

std::string certificate_warning_of(const CertificateFacts& one, Time now) {
  const auto name = one.database.empty()
                        ? fmt::format("{} ({})", one.file.string(), one.role)
                        : fmt::format("{} ({} of database {})", one.file.string(), one.role, one.database);
  std::string said;
  if (one.not_after && *one.not_after < now) {
    said = fmt::format("{} has expired on {}", name, utc_text(*one.not_after));
  } else if (one.not_after && *one.not_after - now < certificate_warning) {
    said = fmt::format("{} ends on {}, in {} days: renew it", name, utc_text(*one.not_after),
                       std::chrono::duration_cast<std::chrono::days>(*one.not_after - now).count());
  }
  if (one.trouble.empty()) return said;
  return fmt::format("{}; what its files hold now is not in use: {}", said.empty() ? name : said, one.trouble);
}

bool CertificateWatch::look(const std::vector<CertificateSet>& sets) {
  const std::scoped_lock looking(looking_);
  std::map<std::string, Known> before;
  {
    const std::scoped_lock lock(mutex_);
    before = known_;
  }
  std::map<std::string, Known> now;
  bool node_changed = false;
  for (const auto& set : sets) {
    const auto found = before.find(key_of(set));
    const bool fresh = found == before.end();
    Known known;
    if (!fresh) known = found->second;
    known.set = set;
    const bool changed = look_at(known, fresh);
    node_changed = node_changed || (changed && set.role == node_role);
    warn(known);
    now.emplace(key_of(set), std::move(known));
  }
  const std::scoped_lock lock(mutex_);
  known_ = std::move(now);
  return node_changed;
}

/// True: what it holds is to be used from now on.
bool CertificateWatch::look_at(Known& known, bool fresh) {
  // Before they are read: what changes meanwhile is another one then.
  auto stamp = stamp_of(known.set);
  // Its user is asked again, without another log line.
  if (!fresh && stamp == known.stamp && known.refused) return true;
  if (!fresh && stamp == known.stamp && known.trouble.empty()) return false;
  known.refused = false;
  const auto checked = check_certificates(known.set);
  const auto where =
      known.set.database.empty() ? std::vector<LogField>{} : std::vector<LogField>{{"database", known.set.database}};
  if (!checked) {
    if (fresh) known.files = files_of(known.set);
    const auto& message = checked.error().message();
    if (message != known.trouble) {
      auto fields = where;
      fields.emplace_back("message", message);
      log(Severity::error,
          fresh ? "certificates cannot be used" : "changed certificates cannot be used: the old ones stay in use",
          fields);
    }
    known.trouble = message;
    return false;
  }
  known.trouble.clear();
  known.stamp = std::move(stamp);
  known.files = files_of(known.set);
  known.warned = {};
  if (fresh) return false;
  for (const auto& one : known.files)
    log(Severity::info, "a changed file is used from now on", fields_of(one));
  return true;
}

/// Once a day.
void CertificateWatch::warn(Known& known) {
  const auto now = std::chrono::system_clock::now();
  if (now - known.warned < warned_every) return;
  for (const auto& one : known.files) {
    if (!one.not_after || *one.not_after - now >= certificate_warning) continue;
    known.warned = now;
    if (*one.not_after < now) {
      log(Severity::error, "a certificate has expired", fields_of(one));
    } else {
      log(Severity::warning, "a certificate ends soon: renew it", fields_of(one));
    }
  }
}

void CertificateWatch::refused(const MirrorError& error) {
  const std::scoped_lock looking(looking_);
  const std::scoped_lock lock(mutex_);
  for (auto& [key, known] : known_) {
    if (known.set.role != node_role) continue;
    if (known.trouble != error.message())
      log(Severity::error, "changed certificates cannot be used: the old ones stay in use",
          {{"message", error.message()}});
    known.trouble = error.message();
    known.refused = true;
  }
}

void CertificateWatch::taken() {
  const std::scoped_lock looking(looking_);
  const std::scoped_lock lock(mutex_);
  for (auto& [key, known] : known_) {
    if (known.set.role == node_role && std::exchange(known.refused, false)) known.trouble.clear();
  }
}

std::vector<CertificateFacts> CertificateWatch::facts() const {
  const std::scoped_lock lock(mutex_);
  std::vector<CertificateFacts> all;
  for (const auto& [key, known] : known_) {
    const auto first = all.size();
    all.insert(all.end(), known.files.begin(), known.files.end());
    // Its words name the file; it is one trouble, whichever of them it is.
    if (first < all.size()) all[first].trouble = known.trouble;
  }
  return all;
}

}  // namespace crosslink::node
