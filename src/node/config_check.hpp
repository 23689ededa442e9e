// What a node refuses to start with, found without starting one.
#pragma once

#include "crosslink/quic/connection.hpp"
#include "crosslink/result.hpp"
#include "node/config.hpp"

namespace crosslink::node {

/// Whatever Node::open would refuse of certificates, rights, data_dir, its catalog and token, and addresses; `mirrors`
/// is the address that config.mirrors stands for. Changes nothing, and may be asked while the node runs: so a port that
/// is in use is no error here. Errors: Configuration, Storage.
Result<void> check_config(const NodeConfig& config, const quic::Address& mirrors);

/// What keeps databases of the config from being opened, though the node starts: the files of etcd clusters. Errors:
/// Configuration that names the database.
Result<void> check_databases(const NodeConfig& config);

}  // namespace crosslink::node
