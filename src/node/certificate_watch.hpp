// The certificate files of a node, looked at by themselves: what was renewed is taken up, what cannot be used is named,
// what ends soon is told in time.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/quic/config.hpp"
#include "crosslink/result.hpp"
#include "node/hosting/etcd_place.hpp"

namespace crosslink::node {

/// From so long before a certificate's end on there are warnings.
inline constexpr std::chrono::hours certificate_warning{24 * 30};

/// Files that are used together.
struct CertificateSet {
  std::string role;                                    ///< "node" or "etcd"
  std::string database;                                ///< of etcd's; empty: the node's own
  std::filesystem::path ca, cert, key, password_file;  ///< empty: none
  std::string own_name;                                ///< a DNS name that `cert` must have; empty: none
  friend bool operator==(const CertificateSet&, const CertificateSet&) = default;
};
CertificateSet certificate_set_of(const quic::TlsFiles& tls, const std::string& cluster_id);
CertificateSet certificate_set_of(const std::string& database, const EtcdCluster& cluster);

/// Can they be used now? Errors: Configuration that names the file and what to do.
Result<void> check_certificates(const CertificateSet& set);

/// One file of certificates, or with a password.
struct CertificateFacts {
  std::string role;      ///< "node", "node_ca", "etcd", "etcd_ca", "etcd_password"
  std::string database;  ///< as CertificateSet
  std::filesystem::path file;
  /// The last second in which what is in use is valid; absent: it was never read.
  std::optional<std::chrono::system_clock::time_point> not_after;
  /// Why what the files that are used together hold now is not in use, at the first of them; empty: it is.
  std::string trouble;
};
/// What an operator has to do something about; empty: nothing.
std::string certificate_warning_of(const CertificateFacts& one, std::chrono::system_clock::time_point now);

/// Thread safe.
class CertificateWatch {
 public:
  /// Reads what has changed, and logs what there is to say. Blocks. True: the node's own files hold something new that
  /// can be used, or are others than before; it is for the caller to use it now, and to call refused() when that fails.
  /// The first time they count as in use.
  bool look(const std::vector<CertificateSet>& sets);
  /// They could not be used after all: they are read again at the next look.
  void refused(const MirrorError& error);
  /// What look() returned true for is in use.
  void taken();
  /// Of the last look.
  std::vector<CertificateFacts> facts() const;

 private:
  struct Known {
    CertificateSet set;
    std::string stamp;
    std::vector<CertificateFacts> files;
    std::string trouble;
    bool refused = false;  ///< by its user, which is asked again
    std::chrono::system_clock::time_point warned;
  };
  static bool look_at(Known& known, bool fresh);
  static void warn(Known& known);

  std::mutex looking_;  ///< one look after another
  mutable std::mutex mutex_;
  std::map<std::string, Known> known_;  ///< by role and database
};

}  // namespace crosslink::node
